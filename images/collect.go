package images

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"seuss/guest"
	"seuss/images/internal/object"
	"seuss/images/layer"
)

// Layers is the store of the layers that the images of this store name.
func (s Store) Layers() layer.Store { return layer.Store{Dir: filepath.Join(s.Dir, layer.DirName)} }

// CollectLayers removes the layers that no image of the store names, and that nobody has
// added or found for a day, or for the time given if it is not 0. Where an image cannot be
// read, nothing is removed: it may name any.
func (s Store) CollectLayers(unusedFor time.Duration) ([]layer.Stored, error) {
	entries, err := os.ReadDir(s.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("collect layers: %w", err)
	}
	used := map[layer.Digest]bool{}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), guest.ImageSuffix) {
			continue
		}
		refs, err := readLayers(filepath.Join(s.Dir, e.Name()))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrVersion) || errors.Is(err, ErrABI) {
			continue // removed meanwhile, or of a release that cannot be read and is built anew
		} else if err != nil {
			return nil, fmt.Errorf("collect layers: image %s: %w", e.Name(), err)
		}
		for _, r := range refs {
			used[r.Digest] = true
		}
	}
	return s.Layers().Collect(used, unusedFor)
}

// LayersOf returns the layers that an image file names, without opening the image.
func LayersOf(path string) ([]LayerRef, error) {
	refs, err := readLayers(path)
	if err != nil {
		return nil, fmt.Errorf("layers of image %s: %w", path, err)
	}
	return refs, nil
}

// readLayers reads which layers an image file names, and nothing else of it.
func readLayers(path string) ([]LayerRef, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	img := &Image{}
	h := &img.header
	if err := readHeader(f, st.Size(), h); err != nil {
		return nil, err
	}
	if err := h.check(); err != nil {
		return nil, err
	}
	img.layers = make([]LayerRef, h.LayerCount)
	table := make([]byte, h.LayerCount*guest.ImageLayerSize)
	err = object.ReadFull(f, table, h.LayersOff)
	if err == nil {
		err = decode(table, img.layers)
	}
	if err != nil {
		return nil, fmt.Errorf("read layers: %w", err)
	}
	return img.layers, img.checkLayers()
}

// complete reports whether an image is there, with all of its layers. What it lacks is
// ErrNotFound.
func (s Store) complete(path string) error {
	refs, err := readLayers(path)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	for _, r := range refs {
		if _, err := os.Stat(s.Layers().Path(r.Digest)); err != nil {
			return fmt.Errorf("%w: %w", ErrNotFound, err)
		}
	}
	return nil
}
