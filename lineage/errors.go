package lineage

import (
	"errors"
	"seuss/lineage/sealed"
)

// What can be wrong with a node file, in the order in which it is checked.
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
	// ErrOrphan: the node's parent is missing or damaged.
	ErrOrphan = errors.New("parent is missing or damaged")
)

// What can be wrong with a request to a Store.
var (
	// ErrNotFound: no node or function has this name.
	ErrNotFound = errors.New("not found")
	// ErrAmbiguous: more than one node id begins with the given prefix.
	ErrAmbiguous = errors.New("ambiguous id prefix")
	// ErrInvalid: an argument breaks the rules that its documentation states.
	ErrInvalid = errors.New("invalid argument")
	// ErrLocked: another process has the state directory open for writing.
	ErrLocked = sealed.ErrLocked
	// ErrReadOnly: the Store was opened read-only.
	ErrReadOnly = errors.New("store is read-only")
	// ErrHasChildren: the node has dependents and cascade was not asked for.
	ErrHasChildren = errors.New("node has dependents")
	// ErrPinned: the node, or one below it, is pinned or tagged.
	ErrPinned = errors.New("node is kept by a pin or tag")
	// ErrClosed: the Store was closed.
	ErrClosed = errors.New("store is closed")
)
