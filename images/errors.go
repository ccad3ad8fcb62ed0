package images

import "errors"

// Errors of Open and Store, to be tested with errors.Is. Open checks in the
// order in which they are listed, so an error also says what still held.
var (
	// ErrMagic: the file is not a root image at all.
	ErrMagic = errors.New("not a seuss root image")
	// ErrVersion: an image format that this program does not read.
	ErrVersion = errors.New("unsupported image format version")
	// ErrABI: the kernel library inside speaks another host/guest contract.
	ErrABI = errors.New("image was built for another guest ABI")
	// ErrTruncated: the file is shorter than its header says.
	ErrTruncated = errors.New("image is truncated")
	// ErrCorrupt: a table, an offset or the digest is wrong.
	ErrCorrupt = errors.New("image is corrupt")

	// ErrNotFound: no such image in the store, or no such path in the image.
	ErrNotFound = errors.New("not found")
	// ErrNamed: an image that is to be removed by a name has others.
	ErrNamed = errors.New("the image has other names")
	// ErrAmbiguous: a digest prefix fits more than one image.
	ErrAmbiguous = errors.New("ambiguous image reference")
)
