package oci

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/match"

	"seuss/lineage"
)

// refName is the annotation that names an image in a layout (OCI image spec,
// annotations).
const refName = "org.opencontainers.image.ref.name"

// WriteLayout puts a bundle under a name into the image layout in dir, which is
// made if it does not exist. Blobs that are there already are not written again.
func WriteLayout(dir, name string, b *Bundle) error {
	p, err := layout.FromPath(dir)
	if err != nil {
		if entries, listErr := os.ReadDir(dir); listErr == nil && len(entries) > 0 {
			return fmt.Errorf("write image layout %s: the directory holds something else: %w", dir, err)
		}
		if p, err = layout.Write(dir, empty.Index); err != nil {
			return fmt.Errorf("write image layout %s: %w", dir, err)
		}
	}
	if err := p.ReplaceImage(b, match.Name(name), layout.WithAnnotations(map[string]string{refName: name})); err != nil {
		return fmt.Errorf("write image layout %s: %w", dir, err)
	}
	return nil
}

// ReadLayout imports the image of a name from the image layout in dir; with name
// empty the only one there is.
func ReadLayout(s *lineage.Store, dir, name string, o ImportOptions) (*Imported, error) {
	done, err := readLayout(s, dir, name, o)
	if err != nil {
		return nil, fmt.Errorf("import from image layout %s: %w", dir, err)
	}
	return done, nil
}

func readLayout(s *lineage.Store, dir, name string, o ImportOptions) (*Imported, error) {
	if err := bounded(filepath.Join(dir, "index.json"), maxManifestBytes); err != nil {
		return nil, err
	}
	if err := bounded(filepath.Join(dir, "oci-layout"), maxManifestBytes); err != nil {
		return nil, err
	}
	raw, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err != nil {
		return nil, err
	}
	if err := checkCounts(raw); err != nil {
		return nil, fmt.Errorf("index.json: %w", err)
	}
	p, err := layout.FromPath(dir)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, ErrFormat)
	}
	index, err := p.ImageIndex()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, ErrFormat)
	}
	m, err := index.IndexManifest()
	if err != nil {
		return nil, fmt.Errorf("index.json: %w: %w", err, ErrFormat)
	}
	var found []v1.Descriptor
	for _, d := range m.Manifests {
		if name == "" || d.Annotations[refName] == name {
			found = append(found, d)
		}
	}
	switch {
	case len(found) == 0:
		return nil, fmt.Errorf("no image %q among %d: %w", name, len(m.Manifests), lineage.ErrNotFound)
	case len(found) > 1:
		return nil, fmt.Errorf("%d images; say which by name: %w", len(found), lineage.ErrAmbiguous)
	}
	return load(s, layoutSource{p, dir, found[0]}, o)
}

// bounded reports a file that is not regular or larger than limit.
func bounded(path string, limit int64) error {
	fi, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: %w", err, ErrFormat)
	case err != nil:
		return err
	case !fi.Mode().IsRegular():
		return fmt.Errorf("%s is not a file but %v: %w", path, fi.Mode().Type(), ErrFormat)
	case fi.Size() > limit:
		return fmt.Errorf("%s has %d bytes, at most %d: %w", path, fi.Size(), limit, ErrTooLarge)
	}
	return nil
}

// layoutSource reads blobs by their digest, which has been parsed: it cannot lead
// out of the directory.
type layoutSource struct {
	p        layout.Path
	dir      string
	manifest v1.Descriptor
}

func (l layoutSource) readManifest() ([]byte, error) {
	r, err := l.blob(l.manifest)
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	defer r.Close()
	if l.manifest.Size > maxManifestBytes {
		return nil, fmt.Errorf("manifest of %d bytes, at most %d: %w", l.manifest.Size, maxManifestBytes, ErrTooLarge)
	}
	b, err := io.ReadAll(checked(r, l.manifest))
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	return b, nil
}

func (l layoutSource) blob(d v1.Descriptor) (io.ReadCloser, error) {
	if d.Digest.Algorithm != "sha256" || !blobName.MatchString("blobs/sha256/"+d.Digest.Hex) {
		return nil, fmt.Errorf("digest %v: %w", d.Digest, ErrFormat)
	}
	// Not through a link: what it leads to is not this archive's.
	if err := bounded(filepath.Join(l.dir, "blobs", "sha256", d.Digest.Hex), max(d.Size, 0)); err != nil {
		return nil, err
	}
	return l.p.Blob(d.Digest)
}

// blobName is the only kind of name besides two files that an archive may hold.
var blobName = regexp.MustCompile(`^blobs/sha256/[0-9a-f]{64}$`)

// maxArchiveFiles bounds the entries of an archive.
const maxArchiveFiles = 1 << 16

// WriteArchive writes an image layout with one image as a tar archive.
func WriteArchive(path, name string, b *Bundle) (err error) {
	dir, err := os.MkdirTemp(filepath.Dir(path), ".seuss-archive-")
	if err != nil {
		return fmt.Errorf("write archive %s: %w", path, err)
	}
	defer os.RemoveAll(dir)
	if err := WriteLayout(filepath.Join(dir, "layout"), name, b); err != nil {
		return err
	}
	temp := filepath.Join(dir, "archive")
	if err := writeTar(temp, filepath.Join(dir, "layout")); err != nil {
		return fmt.Errorf("write archive %s: %w", path, err)
	}
	if err := os.Rename(temp, path); err != nil {
		return fmt.Errorf("write archive %s: %w", path, err)
	}
	return nil
}

func writeTar(path, dir string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	w := tar.NewWriter(f)
	if err := w.AddFS(os.DirFS(dir)); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return f.Sync()
}

// ReadArchive imports the image of a name from a tar archive of an image layout.
func ReadArchive(s *lineage.Store, r io.Reader, name string, o ImportOptions) (*Imported, error) {
	dir, err := os.MkdirTemp("", "seuss-import-")
	if err != nil {
		return nil, fmt.Errorf("import archive: %w", err)
	}
	defer os.RemoveAll(dir)
	limit := o.MaxBytes
	if limit == 0 {
		limit = DefaultMaxBytes
	}
	if err := unpack(r, dir, limit); err != nil {
		return nil, fmt.Errorf("import archive: %w", err)
	}
	return ReadLayout(s, dir, name, o)
}

// unpack writes the files of a layout, and refuses anything else.
func unpack(r io.Reader, dir string, limit int64) error {
	if err := os.MkdirAll(filepath.Join(dir, "blobs", "sha256"), 0o755); err != nil {
		return err
	}
	t := tar.NewReader(r)
	left := limit
	for files := 0; ; files++ {
		h, err := t.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: %w", err, ErrFormat)
		}
		if files >= maxArchiveFiles {
			return fmt.Errorf("more than %d files: %w", maxArchiveFiles, ErrTooLarge)
		}
		switch name := h.Name; {
		case h.Typeflag == tar.TypeDir && (name == "blobs/" || name == "blobs/sha256/" || name == "./"):
			continue
		case h.Typeflag != tar.TypeReg || name != "index.json" && name != "oci-layout" && !blobName.MatchString(name):
			return fmt.Errorf("entry %q of type %q does not belong into an image layout: %w", name, h.Typeflag, ErrFormat)
		case h.Size > left:
			return fmt.Errorf("entry %q has %d bytes, more than %d in all: %w", name, h.Size, limit, ErrTooLarge)
		}
		left -= h.Size
		f, err := os.OpenFile(filepath.Join(dir, filepath.FromSlash(h.Name)), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("entry %q is there twice: %w", h.Name, ErrFormat)
		}
		if err != nil {
			return err
		}
		_, err = io.Copy(f, t)
		if err = errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("entry %q: %w", h.Name, err)
		}
	}
}
