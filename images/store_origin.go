package images

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
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
)

const (
	originSuffix = ".origin"
	// maxOriginBytes bounds a record.
	maxOriginBytes = 64 << 10
)

var originPattern = regexp.MustCompile(`^[0-9a-f]{64}\.origin$`)

// Origin says what an image of a Store was built from: one record for each thing that led
// to it.
type Origin struct {
	// Key is all that the image depends on: what has an equal one need not be built.
	Key string `json:"key"`
	// Reference is what the user named, and Digest what was there.
	Reference string    `json:"reference"`
	Digest    string    `json:"digest"`
	Image     string    `json:"image"` // digest of the image
	Built     time.Time `json:"built"`
}

// originPath is where the record of a key is.
func (s Store) originPath(key string) string {
	sum := sha256.Sum256([]byte(key))
	return filepath.Join(s.Dir, hex.EncodeToString(sum[:])+originSuffix)
}

// SetOrigin records what an image of the store was built from.
func (s Store) SetOrigin(o Origin) error {
	if !digestPattern.MatchString(o.Image) {
		return fmt.Errorf("record the origin of image %.80q: want a digest", o.Image)
	}
	text, err := json.Marshal(o)
	if err == nil && len(text) > maxOriginBytes {
		err = fmt.Errorf("it takes %d bytes, at most %d", len(text), maxOriginBytes)
	}
	if err == nil {
		err = files.WriteFile(s.originPath(o.Key), append(text, '\n'))
	}
	if err != nil {
		return fmt.Errorf("record the origin of image %.12s in %s: %w", o.Image, s.Dir, layer.Full(s.Dir, err))
	}
	return nil
}

// FindOrigin returns the path of the image that was built with a key, and its record.
// ErrNotFound if there is none by now, or a layer of it is missing: it is built anew then.
func (s Store) FindOrigin(key string) (string, Origin, error) {
	o, err := readOrigin(s.originPath(key))
	if err != nil {
		return "", Origin{}, err
	}
	path := filepath.Join(s.Dir, o.Image+guest.ImageSuffix)
	if o.Key != key {
		return "", Origin{}, fmt.Errorf("image %.12s: %w in %s", o.Image, ErrNotFound, s.Dir)
	}
	if err := s.complete(path); err != nil {
		return "", Origin{}, fmt.Errorf("image %.12s in %s: %w", o.Image, s.Dir, layer.Full(s.Dir, err))
	}
	return path, o, nil
}

// readOrigin reads a record. One that cannot be understood counts as none: the image is
// then built again.
func readOrigin(path string) (Origin, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Origin{}, fmt.Errorf("record %s: %w", path, ErrNotFound)
	} else if err != nil {
		return Origin{}, err
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || st.Size() > maxOriginBytes+1 {
		return Origin{}, errors.Join(err, fmt.Errorf("record %s: %w", path, ErrNotFound))
	}
	var o Origin
	if err := json.NewDecoder(f).Decode(&o); err != nil || !digestPattern.MatchString(o.Image) {
		return Origin{}, fmt.Errorf("record %s: %w", path, ErrNotFound)
	}
	return o, nil
}

// Origins returns the records of all images, by the images' digests, the newest first.
func (s Store) Origins() (map[string][]Origin, error) {
	entries, err := os.ReadDir(s.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("list origins of images: %w", err)
	}
	all := map[string][]Origin{}
	for _, e := range entries {
		if !originPattern.MatchString(e.Name()) {
			continue
		}
		o, err := readOrigin(filepath.Join(s.Dir, e.Name()))
		if errors.Is(err, ErrNotFound) {
			continue
		} else if err != nil {
			return nil, err
		}
		all[o.Image] = append(all[o.Image], o)
	}
	for _, list := range all {
		slices.SortFunc(list, func(a, b Origin) int {
			if c := b.Built.Compare(a.Built); c != 0 {
				return c
			}
			return strings.Compare(a.Key, b.Key)
		})
	}
	return all, nil
}

// containerScheme is the source of container images in registries.
const containerScheme = "docker:"

// Container returns how a pull would name the container image that the image at a path was
// built from, and the digest of what was there. What was built from another source is named
// by the image's own digest. FromContainer takes either.
func (s Store) Container(path string) (uri, digest string, err error) {
	all, err := s.Origins()
	if err != nil {
		return "", "", err
	}
	image := strings.TrimSuffix(filepath.Base(path), guest.ImageSuffix)
	for _, o := range all[image] { // the newest first
		if named, ok := strings.CutPrefix(o.Reference, containerScheme); ok {
			return strings.TrimPrefix(named, "//"), o.Digest, nil
		}
	}
	return image, "sha256:" + image, nil
}

// FromContainer returns the path of the image that was built last from a container image in a
// registry, as a pull would name it, and its record; or those of the image of a digest.
// ErrNotFound if there is none.
func (s Store) FromContainer(uri string) (string, Origin, error) {
	if digestPattern.MatchString(uri) {
		file := filepath.Join(s.Dir, uri+guest.ImageSuffix)
		if err := s.complete(file); err != nil {
			return "", Origin{}, fmt.Errorf("image of %.200q: %w in %s", uri, ErrNotFound, s.Dir)
		}
		return file, Origin{Digest: "sha256:" + uri, Image: uri}, nil
	}
	all, err := s.Origins()
	if err != nil {
		return "", Origin{}, err
	}
	var last Origin
	for _, list := range all {
		for _, o := range list {
			named, ok := strings.CutPrefix(o.Reference, containerScheme)
			if ok && withTag(strings.TrimPrefix(named, "//")) == withTag(uri) && o.Built.After(last.Built) {
				last = o
			}
		}
	}
	file := filepath.Join(s.Dir, last.Image+guest.ImageSuffix)
	if last.Image == "" || s.complete(file) != nil {
		return "", Origin{}, fmt.Errorf("image of %.200q: %w in %s", uri, ErrNotFound, s.Dir)
	}
	return file, last, nil
}

// withTag is a container image's name with the tag that it has where it names none.
func withTag(name string) string {
	if strings.ContainsAny(name[strings.LastIndexByte(name, '/')+1:], ":@") {
		return name
	}
	return name + ":latest"
}

// dropOrigins removes the records that lead to an image.
func (s Store) dropOrigins(digest string) error {
	all, err := s.Origins()
	if err != nil {
		return err
	}
	for _, o := range all[digest] {
		if err := os.Remove(s.originPath(o.Key)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
