package nodefile

import "errors"

// What can be wrong with a file, in the order in which it is checked.
var (
	// ErrMagic: the file is not a node file.
	ErrMagic = errors.New("not a node file")
	// ErrVersion: the file has a format version that this program cannot read.
	ErrVersion = errors.New("unsupported node file version")
	// ErrLength: the file is shorter or longer than its header says.
	ErrLength = errors.New("wrong file length")
	// ErrChecksum: stored bytes do not match their checksum or digest.
	ErrChecksum = errors.New("checksum mismatch")
	// ErrFormat: checksums are right, but the content breaks the format's rules.
	ErrFormat = errors.New("malformed content")
	// ErrIdentity: the file's content is not what its name says.
	ErrIdentity = errors.New("identity mismatch")
	// ErrInvalid: an argument breaks the rules that its documentation states.
	ErrInvalid = errors.New("invalid argument")
)
