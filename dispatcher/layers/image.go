package layers

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"seuss/dispatcher/bundle"
	"seuss/images"
	"seuss/images/derive"
)

// below is where the files of layers lie in a guest.
const below = "opt"

// Bounds of what an archive lists: entries, the length of a name, and parts of all names. Each
// part may be a directory of its own that nothing else names.
const (
	mostListed = 100_000
	mostName   = 4095 - len("/"+below+"/") // PATH_MAX
	mostParts  = 1 << 20                   // directory entries of an image
)

// archive is a layer's files.
type archive struct{ *zip.Reader }

func openArchive(r io.ReaderAt, size int64) (archive, error) {
	if size > bundle.MaxZipBytes {
		return archive{}, fmt.Errorf("%d bytes, at most %d are allowed zipped", size, int64(bundle.MaxZipBytes))
	}
	z, err := bundle.OpenZip(r, size)
	if err != nil {
		return archive{}, err
	}
	if len(z.File) == 0 || len(z.File) > mostListed {
		return archive{}, fmt.Errorf("%d entries, want 1 to %d", len(z.File), mostListed)
	}
	parts := 0
	for _, f := range z.File {
		if len(f.Name) > mostName {
			return archive{}, fmt.Errorf("entry %.200q: its name has %d bytes, at most %d are allowed", f.Name, len(f.Name), mostName)
		}
		if !fs.ValidPath(strings.TrimSuffix(f.Name, "/")) {
			return archive{}, fmt.Errorf("entry %.200q: not a clean path below the archive", f.Name)
		}
		if parts += 1 + strings.Count(f.Name, "/"); parts > mostParts {
			return archive{}, fmt.Errorf("the names of its entries have more than %d parts", mostParts)
		}
	}
	return archive{z}, nil
}

// size adds up the files, of which a layer may hold as much as a function's code and layers.
func (a archive) size() (int64, error) {
	n, err := derive.Size(a, nil)
	if err == nil && n > bundle.MaxUnpacked {
		err = fmt.Errorf("its files have %d bytes, at most %d are allowed unpacked", n, int64(bundle.MaxUnpacked))
	}
	return n, err
}

// Image returns the digest of the image called ref with layers above it, later ones above
// earlier ones. What was made before is found; what is made is bounded by the versions'
// limits, and whole or not there.
func (s *Store) Image(ctx context.Context, store images.Store, ref string, list []Version) (string, error) {
	to := derive.Store{Images: store}
	var add []derive.Layer
	for _, v := range list {
		b, err := s.Archive(v)
		if err != nil {
			return "", err
		}
		from, err := openArchive(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return "", fmt.Errorf("layer %s:%d: %w: %w", v.Name, v.Number, ErrArchive, err)
		}
		l, err := to.Add(ctx, fmt.Sprintf("%s:%d", v.Name, v.Number), bundle.MaxUnpacked, func(t *tar.Writer) error { return derive.WriteFS(t, from, below, nil) })
		if err != nil {
			return "", err
		}
		add = append(add, l)
	}
	if len(add) == 0 {
		return ref, nil
	}
	return to.Image(ctx, ref, add)
}
