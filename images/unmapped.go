package images

import (
	"errors"
	"fmt"
	"io"
	"sort"

	"seuss/guest"
	"seuss/images/layer"
)

// Unmapped reads the layers of an image that guests do not map all of. It is safe for
// concurrent use.
type Unmapped struct {
	refs   []LayerRef
	layers []*layer.Content
}

// Unmapped opens the layers for guests of the image, and stays valid when the image is
// closed. It is nil where guests map all of it. The caller closes it.
func (m *Image) Unmapped() (*Unmapped, error) {
	if len(m.shown) == 0 {
		return nil, nil
	}
	u := &Unmapped{refs: m.layers}
	store := layersBeside(m.path)
	for _, ref := range m.layers {
		c, err := store.Content(ref.Digest)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("image %s: %w", m.config.Name, err), u.Close())
		}
		u.layers = append(u.layers, c)
	}
	return u, nil
}

// ReadAt implements io.ReaderAt over the image, in whole pages. Each page is compared with
// its checksum. What lies in no layer is zero.
func (u *Unmapped) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 || (uint64(off)|uint64(len(p)))%guest.PageSize != 0 {
		return 0, fmt.Errorf("read %d bytes of the image at %d: not in pages", len(p), off)
	}
	for n < len(p) {
		at, rest := uint64(off)+uint64(n), uint64(len(p)-n)
		i := sort.Search(len(u.refs), func(i int) bool { return u.refs[i].Off+u.refs[i].Bytes > at })
		if i == len(u.refs) {
			return n, io.EOF
		}
		ref := u.refs[i]
		if at < ref.Off {
			zero := min(rest, ref.Off-at)
			clear(p[n : n+int(zero)])
			n += int(zero)
			continue
		}
		got, err := u.layers[i].ReadAt(p[n:n+int(min(rest, ref.Off+ref.Bytes-at))], int64(at-ref.Off))
		n += got
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// Close closes the layers.
func (u *Unmapped) Close() error {
	var errs []error
	for _, c := range u.layers {
		errs = append(errs, c.Close())
	}
	u.layers = nil
	return errors.Join(errs...)
}
