package layer

import (
	"errors"
	"fmt"
	"syscall"
)

// Errors of this package, to be tested with errors.Is.
var (
	// ErrMagic: the file is not a layer at all.
	ErrMagic = errors.New("not a seuss layer")
	// ErrVersion: a layer format, or a kernel contract, that this program does not read.
	ErrVersion = errors.New("unsupported layer format version")
	// ErrTruncated: the file is shorter than its header says.
	ErrTruncated = errors.New("layer is truncated")
	// ErrCorrupt: an entry, an offset or a digest is wrong.
	ErrCorrupt = errors.New("layer is corrupt")
	// ErrNotFound: the store holds no such layer, or the layer no such entry.
	ErrNotFound = errors.New("layer not found")
	// ErrTar: the tar stream holds what no root file system can.
	ErrTar = errors.New("not a usable layer archive")
	// ErrTooLarge: the tar stream holds more than is allowed.
	ErrTooLarge = errors.New("layer is too large")
	// ErrDiffID: the tar stream is another one than was promised.
	ErrDiffID = errors.New("layer has another digest than promised")
	// ErrFull: there is no room on the disk.
	ErrFull = errors.New("the disk is full")
)

// Full says once what to do where a disk is full, and returns any other error as it is.
func Full(dir string, err error) error {
	if errors.Is(err, ErrFull) || !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) {
		return err
	}
	return fmt.Errorf("%w: make room where %s is (seussctl image prune), or name another state directory with --state: %w", ErrFull, dir, err)
}

// corrupt returns an ErrCorrupt that says what is wrong.
func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrCorrupt}, args...)...)
}
