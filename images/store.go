package images

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"seuss/guest"
	"seuss/images/layer"
	"seuss/lineage/sealed"
)

const (
	tagSuffix = ".tag"

	// minPrefix is the shortest digest prefix that Find accepts, in
	// hexadecimal digits.
	minPrefix = 6
	// staleAge is when a temporary file cannot belong to a build that still
	// runs, and Add removes it.
	staleAge = 24 * time.Hour
)

// files writes images and tags. Builds run side by side, and take no lock.
var files = sealed.NewUnlocked(".add-", staleAge)

var (
	digestPattern = regexp.MustCompile(`^[0-9a-f]{64}$`)
	prefixPattern = regexp.MustCompile(`^[0-9a-f]{6,64}$`)
)

// Store is a directory of images: <digest>.img holds an image, <name>.tag the
// digest of the newest image of that name. An image never changes; adding one
// of a name that exists moves the tag and keeps the older image.
type Store struct {
	Dir string
}

// Stored describes one image of a Store.
type Stored struct {
	Name    string   // that the image carries
	Tags    []string // names that lead to it now, sorted
	Digest  string   // hexadecimal
	Path    string
	Bytes   int64 // of its own file
	Layers  []LayerRef
	Program string    // guest path
	Created time.Time // modification time of the file
	Err     error     // why the image cannot be opened, and Name is empty
}

// AddOptions are what Add can do besides.
type AddOptions struct {
	Progress func(done, total int64, what string) // may be nil, see Build
	// Layered makes a layer of the Spec's files, above its others, in place of storing them
	// in the image, and one of those that its Base has in a file of its own: images that
	// hold the same files have it in common.
	Layered bool
	// Try, if not nil, runs a program of the new image, Spec.Check, and says why it
	// failed. An image that fails is not added.
	Try func(ctx context.Context, img *Image, argv []string) error
	// NoTag leaves tags as they are.
	NoTag bool
}

// Add builds an image into the store and points the tag of its name at it, unless
// opts says that it gets none. Neither a crash nor an error leaves a partial image under its final name.
func (s Store) Add(ctx context.Context, spec Spec, opts AddOptions) (Info, error) {
	if err := CheckName(spec.Name); err != nil {
		return Info{}, err
	}
	if err := os.MkdirAll(s.Dir, sealed.DirMode); err != nil {
		return Info{}, fmt.Errorf("make image store: %w", err)
	}
	if err := files.Sweep(s.Dir); err != nil {
		return Info{}, fmt.Errorf("image store: %w", err)
	}
	info, err := s.add(ctx, spec, opts)
	if err != nil {
		return Info{}, fmt.Errorf("add image %s to %s: %w", spec.Name, s.Dir, layer.Full(s.Dir, err))
	}
	if opts.NoTag {
		return info, nil
	}
	return info, s.tag(spec.Name, info.Digest.String())
}

func (s Store) add(ctx context.Context, spec Spec, opts AddOptions) (Info, error) {
	if opts.Layered && spec.Base != nil {
		if err := spec.Base.takeOwn(ctx, s.Layers()); err != nil {
			return Info{}, err
		}
	}
	if opts.Layered && len(spec.Files) > 0 && !slices.ContainsFunc(spec.Files, File.isWhiteout) {
		l, err := addFiles(ctx, s.Layers(), spec.Files)
		if err != nil {
			return Info{}, err
		}
		defer l.Close()
		spec.Layers, spec.Files = append(slices.Clone(spec.Layers), l), nil
	}
	p, err := files.New(s.Dir)
	if err != nil {
		return Info{}, err
	}
	defer p.Discard()
	info, err := Build(ctx, p, spec, opts.Progress)
	if err != nil {
		return Info{}, err
	}
	// The reader's own rules decide whether the writer kept them.
	img, err := Open(p.Name(), SkipDigest())
	if err != nil {
		return Info{}, fmt.Errorf("check the image just built: %w", err)
	}
	if opts.Try != nil && spec.Check != nil {
		err = opts.Try(ctx, img, spec.Check)
	}
	if err := errors.Join(err, img.Close()); err != nil {
		return Info{}, err
	}
	if err := p.Seal(); err != nil {
		return Info{}, err
	}
	return info, p.Publish(s.Path(info.Digest))
}

// Path is where an image is, or would be.
func (s Store) Path(d Digest) string { return filepath.Join(s.Dir, d.String()+guest.ImageSuffix) }

// TagNew points the tag of a name at an image that is in the store, if there is no
// tag of that name, and reports whether it did.
func (s Store) TagNew(name, digest string) (bool, error) {
	if err := CheckName(name); err != nil {
		return false, err
	}
	if _, err := s.readTag(name); !errors.Is(err, ErrNotFound) {
		return false, err
	}
	if _, err := os.Stat(filepath.Join(s.Dir, digest+guest.ImageSuffix)); err != nil {
		return false, fmt.Errorf("tag image %s: %w", name, err)
	}
	return true, s.tag(name, digest)
}

// Tag points the tag of a name at an image of the store, found as by Find.
func (s Store) Tag(ref, name string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	path, err := s.Find(ref)
	if err != nil {
		return err
	}
	return s.tag(name, strings.TrimSuffix(filepath.Base(path), guest.ImageSuffix))
}

// Untag removes the tag of a name; the image stays.
func (s Store) Untag(name string) error {
	if _, err := s.readTag(name); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(s.Dir, name+tagSuffix)); err != nil {
		return fmt.Errorf("remove tag of image %q: %w", name, err)
	}
	if err := files.SyncDir(s.Dir); err != nil {
		return fmt.Errorf("remove tag of image %q: sync directory %s: %w", name, s.Dir, err)
	}
	return nil
}

func (s Store) tag(name, digest string) error {
	if err := files.WriteFile(filepath.Join(s.Dir, name+tagSuffix), []byte(digest+"\n")); err != nil {
		return fmt.Errorf("tag image %s in %s: %w", name, s.Dir, layer.Full(s.Dir, err))
	}
	return nil
}

// List returns the images, the newest first. One that cannot be opened is
// listed with Err. A store that does not exist yet is empty.
func (s Store) List() ([]Stored, error) {
	entries, err := os.ReadDir(s.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	tags, err := s.tags(entries)
	if err != nil {
		return nil, err
	}
	var out []Stored
	for _, e := range entries {
		digest, ok := strings.CutSuffix(e.Name(), guest.ImageSuffix)
		if !ok || !digestPattern.MatchString(digest) {
			continue
		}
		st, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		} else if err != nil {
			return nil, fmt.Errorf("list images: %w", err)
		}
		item := Stored{
			Digest: digest, Path: filepath.Join(s.Dir, e.Name()),
			Bytes: st.Size(), Created: st.ModTime(),
		}
		for name, d := range tags {
			if d == digest {
				item.Tags = append(item.Tags, name)
			}
		}
		slices.Sort(item.Tags)
		item.describe()
		out = append(out, item)
	}
	slices.SortFunc(out, func(a, b Stored) int {
		if c := b.Created.Compare(a.Created); c != 0 {
			return c
		}
		return strings.Compare(a.Digest, b.Digest)
	})
	return out, nil
}

// describe fills in what the image itself says.
func (i *Stored) describe() {
	img, err := Open(i.Path, SkipDigest())
	if err != nil {
		i.Err = err
		return
	}
	if got := img.Digest().String(); got != i.Digest {
		i.Err = fmt.Errorf("image %s: %w: its header says digest %s", i.Path, ErrCorrupt, got)
	} else {
		i.Name, i.Program, i.Layers = img.Config().Name, img.Config().Program, img.Layers()
	}
	i.Err = errors.Join(i.Err, img.Close())
}

// tags reads all tags, name to digest.
func (s Store) tags(entries []fs.DirEntry) (map[string]string, error) {
	tags := map[string]string{}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), tagSuffix)
		if !ok || CheckName(name) != nil {
			continue
		}
		digest, err := s.readTag(name)
		if errors.Is(err, ErrNotFound) {
			continue // removed meanwhile
		} else if err != nil {
			return nil, err
		}
		tags[name] = digest
	}
	return tags, nil
}

// readTag returns the digest that a name leads to.
func (s Store) readTag(name string) (string, error) {
	path := filepath.Join(s.Dir, name+tagSuffix)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("image %s: %w in %s", name, ErrNotFound, s.Dir)
	} else if err != nil {
		return "", fmt.Errorf("read tag: %w", err)
	}
	digest := strings.TrimSuffix(string(text), "\n")
	if !digestPattern.MatchString(digest) {
		return "", fmt.Errorf("tag %s: %w: holds %.80q, want a digest", path, ErrCorrupt, text)
	}
	return digest, nil
}

// Find returns the path of an image by name, or by digest or its first digits,
// six at least. A name goes before a digest.
func (s Store) Find(ref string) (string, error) {
	if CheckName(ref) == nil {
		digest, err := s.readTag(ref)
		if err == nil {
			path := filepath.Join(s.Dir, digest+guest.ImageSuffix)
			if _, err := os.Stat(path); err != nil {
				return "", fmt.Errorf("image %s: its tag leads to a missing file: %w", ref, err)
			}
			return path, nil
		}
		if !errors.Is(err, ErrNotFound) {
			return "", err
		}
	}
	entries, err := os.ReadDir(s.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("find image %q: %w", ref, err)
	}
	var found []string
	for _, e := range entries {
		digest, ok := strings.CutSuffix(e.Name(), guest.ImageSuffix)
		if ok && prefixPattern.MatchString(ref) && digestPattern.MatchString(digest) && strings.HasPrefix(digest, ref) {
			found = append(found, filepath.Join(s.Dir, e.Name()))
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return "", fmt.Errorf("image %q: %w in %s by name or by at least %d digits of its digest", ref, ErrNotFound, s.Dir, minPrefix)
	}
	return "", fmt.Errorf("image %q: %w: %d digests begin so", ref, ErrAmbiguous, len(found))
}

// Remove removes an image, found as by Find, every tag that leads to it, and the layers that
// no other image has, but for those that were used within a day.
// Machines that run from the image keep their mapping of it.
func (s Store) Remove(ref string) error {
	path, err := s.Find(ref)
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(s.Dir)
	if err != nil {
		return fmt.Errorf("remove image %q: %w", ref, err)
	}
	tags, err := s.tags(entries)
	if err != nil {
		return err
	}
	// Tags first: a crash in between leaves an image without a name, not a
	// name without an image.
	for name, digest := range tags {
		if digest+guest.ImageSuffix != filepath.Base(path) {
			continue
		}
		if err := os.Remove(filepath.Join(s.Dir, name+tagSuffix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove tag of image %q: %w", ref, err)
		}
	}
	if err := s.dropOrigins(strings.TrimSuffix(filepath.Base(path), guest.ImageSuffix)); err != nil {
		return fmt.Errorf("remove what image %q was built from: %w", ref, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove image %q: %w", ref, err)
	}
	if err := files.SyncDir(s.Dir); err != nil {
		return fmt.Errorf("remove image %q: sync directory %s: %w", ref, s.Dir, err)
	}
	_, _ = s.CollectLayers(0) // a service that may fail: who prunes is told
	return nil
}
