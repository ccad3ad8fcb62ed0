package oci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"

	"golang.org/x/sys/unix"

	"seuss/images/layer"
	"seuss/images/source"
)

// freeShare is what an image leaves of a disk's free space: an eighth.
const freeShare = 8

// maxHeaderBytes is more than an archive of a million files has besides their content.
const maxHeaderBytes = 2 << 30

// open fetches what the layer store lacks, and returns the tree. done is called then.
func (img *image) open(ctx context.Context, o source.Options, done func() error) (_ *source.Tree, _ source.Config, err error) {
	defer func() { err = errors.Join(err, done()) }()
	config := img.sourceConfig()
	tree := &source.Tree{Digest: img.digest.String()}
	defer func() {
		if err != nil {
			err = errors.Join(err, tree.Close())
		}
	}()
	limit := o.MaxBytes
	if limit == 0 {
		limit = source.DefaultMaxBytes
	}
	for i := range img.layers {
		what := fmt.Sprintf("layer %d of %d", i+1, len(img.layers))
		l, err := img.layers[i].get(ctx, o, what, limit)
		if err != nil {
			return nil, source.Config{}, fmt.Errorf("%s: %w", what, err)
		}
		tree.Layers = append(tree.Layers, l)
		h := l.Header()
		if limit -= int64(h.Unpacked); limit < 0 {
			return nil, source.Config{}, tooLarge(o.MaxBytes)
		}
		config.Container.Layers[i].Bytes = int64(h.Unpacked)
		tree.Skipped += int(h.Skipped)
	}
	return tree, config, nil
}

func tooLarge(limit int64) error {
	if limit == 0 {
		limit = source.DefaultMaxBytes
	}
	return fmt.Errorf("unpacked it takes more than %d bytes; allow more with --max-size: %w", limit, ErrTooLarge)
}

// get returns the layer, from the store if it is there.
func (l *layerRef) get(ctx context.Context, o source.Options, what string, limit int64) (*layer.Layer, error) {
	digest, err := o.Layers.Find(l.diffID.String())
	if errors.Is(err, layer.ErrNotFound) {
		digest, err = l.fetch(ctx, o, what, limit)
	}
	if err != nil {
		return nil, err
	}
	return o.Layers.Open(digest)
}

func (l *layerRef) fetch(ctx context.Context, o source.Options, what string, limit int64) (layer.Digest, error) {
	free, err := room(o.Layers.Dir)
	if err != nil {
		return layer.Digest{}, err
	}
	packed, err := l.open()
	if err != nil {
		return layer.Digest{}, err
	}
	defer packed.Close()
	bound := tooLarge(o.MaxBytes)
	if free < limit {
		limit, bound = free, fmt.Errorf("unpacked it takes more than the disk with %s has to spare, %d bytes; make room, or name another state directory with --state: %w", o.Layers.Dir, free, ErrTooLarge)
	}
	// An archive is longer than its files, by headers and padding.
	tar, release, err := l.unpacked(&counted{packed, o, "fetching " + what, 0, l.size}, limit+limit/8+maxHeaderBytes, bound)
	if err != nil {
		return layer.Digest{}, err
	}
	defer release()
	h, err := o.Layers.Add(ctx, tar, layer.AddOptions{DiffID: l.diffID.String(), MaxBytes: limit})
	switch {
	case errors.Is(err, layer.ErrTooLarge):
		return layer.Digest{}, bound
	case err != nil:
		return layer.Digest{}, err
	}
	return h.Digest, nil
}

// counted tells how far a transfer is.
type counted struct {
	r    io.Reader
	o    source.Options
	what string
	done int64
	all  int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.done += int64(n)
	if c.all > 0 {
		c.o.Tell(c.what, min(float64(c.done)/float64(c.all), 0.999))
	}
	return n, err
}

// room is how much more may be unpacked below a directory, which need not exist yet.
func room(dir string) (int64, error) {
	for {
		var st unix.Statfs_t
		err := unix.Statfs(dir, &st)
		if errors.Is(err, unix.ENOENT) && dir != filepath.Dir(dir) {
			dir = filepath.Dir(dir)
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("free space of %s: %w", dir, err)
		}
		free := st.Bavail * uint64(st.Frsize)
		return int64(min(free-free/freeShare, math.MaxInt64)), nil
	}
}
