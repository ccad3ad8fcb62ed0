package images

import (
	"fmt"
	"io"
	"strings"
)

// Root looks things up in the root file system of a Spec, as a guest would: symbolic
// links are followed within it.
type Root struct{ tree *node }

// NewRoot returns the root of a Spec's layers and files, which must stay as they are as
// long as it is used. Nothing else of the Spec is looked at.
func NewRoot(spec *Spec) (*Root, error) {
	tree, err := buildTree(spec)
	if err != nil {
		return nil, err
	}
	return &Root{tree}, nil
}

// Lookup finds a path, with all links followed. It returns where that leads, and whether a
// regular file is there. What is not there is ErrNotFound.
func (r *Root) Lookup(guestPath string) (real string, regular bool, err error) {
	n, err := r.tree.resolve(guestPath)
	if err != nil {
		return "", false, err
	}
	return n.guest, n.mode&modeTypeMask == modeRegular, nil
}

// Names returns the names in a directory that begin with prefix, in no order; none if
// there is no such directory.
func (r *Root) Names(dir, prefix string) (names []string) {
	n, err := r.tree.resolve(dir)
	if err != nil || !n.isDir() {
		return nil
	}
	for name := range n.byName {
		if strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	return names
}

// Open opens the regular file at a path, with all links followed, and returns its size,
// and the function to end with.
func (r *Root) Open(guestPath string) (c io.ReaderAt, size int64, done func() error, err error) {
	n, err := r.tree.resolve(guestPath)
	if err != nil {
		return nil, 0, nil, err
	}
	if n.mode&modeTypeMask != modeRegular {
		return nil, 0, nil, fmt.Errorf("%s: %w: it is no regular file", n.guest, ErrNotFound)
	}
	c, done, err = n.open()
	return c, int64(n.size), done, err
}
