package images

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// copyTo writes the content of a regular file, without what its loaded layout holds.
func (n *node) copyTo(ctx context.Context, w io.Writer) (err error) {
	r, done, err := n.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	rest := io.NewSectionReader(r, int64(n.head), int64(n.size-n.head))
	for left := rest.Size(); left > 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		got, err := io.CopyN(w, rest, min(left, 1<<20))
		left -= got
		if err != nil {
			return fmt.Errorf("copy %s: %d of %d bytes left: %w", n.guest, left, n.size, err)
		}
	}
	return nil
}

// loadTo writes the loaded layout of an ET_DYN object.
func (n *node) loadTo(_ context.Context, w io.Writer) (err error) {
	r, done, err := n.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	mem, err := n.object.Load(r)
	if err == nil {
		mem, err = n.direct.Apply(mem)
	}
	if err != nil {
		return fmt.Errorf("lay out %s: %w", n.guest, err)
	}
	_, err = w.Write(mem)
	return err
}

// planDirect plans the direct system calls of an ET_DYN object.
func (n *node) planDirect() (err error) {
	r, done, err := n.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	if n.direct, err = n.object.PlanDirect(r); err != nil {
		return fmt.Errorf("find system calls of %s: %w", n.guest, err)
	}
	return nil
}
