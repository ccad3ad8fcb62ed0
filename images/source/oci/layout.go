package oci

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// splitTag cuts PATH[:TAG]. A path that exists is meant as it is, and a tag has no slash.
func splitTag(ref string) (name, tag string) {
	if _, err := os.Lstat(ref); err == nil {
		return ref, ""
	}
	if i := strings.LastIndexByte(ref, ':'); i >= 0 && !strings.Contains(ref[i:], "/") {
		return ref[:i], ref[i+1:]
	}
	return ref, ""
}

// layout is the store of an OCI image layout (OCI image spec, image-layout).
type layout struct{ blobs }

func (l layout) blob(d v1.Descriptor) (io.ReadCloser, error) {
	if err := checkDigest(d.Digest); err != nil {
		return nil, err
	}
	r, _, err := l.open("blobs/sha256/" + d.Digest.Hex)
	return r, missing(err, "blob "+d.Digest.String())
}

func (l layout) manifest(d v1.Descriptor) ([]byte, error) {
	if d.Size < 0 || d.Size > maxDocument {
		return nil, fmt.Errorf("manifest of %d bytes, at most %d: %w", d.Size, maxDocument, ErrTooLarge)
	}
	r, err := l.blob(d)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	text, err := io.ReadAll(verified(r, d.Digest, d.Size))
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	return text, nil
}

// readLayout reads the image of a tag, "" being the only one.
func readLayout(b blobs, tag string) (*image, error) {
	if _, err := readDocument(b, "oci-layout"); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			if _, _, err := b.open("manifest.json"); err == nil {
				return nil, fmt.Errorf("it is an archive of docker save; open it as docker-archive:FILE: %w", ErrFormat)
			}
		}
		return nil, missing(err, "oci-layout")
	}
	text, err := readDocument(b, "index.json")
	if err != nil {
		return nil, missing(err, "index.json")
	}
	index, err := v1.ParseIndexManifest(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("index.json: %w: %w", err, ErrFormat)
	}
	var found []v1.Descriptor
	var names []string
	for _, d := range index.Manifests {
		name := d.Annotations[ocispec.AnnotationRefName]
		if tag == "" || name == tag {
			found = append(found, d)
		}
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	switch {
	case len(found) == 0 && tag != "":
		return nil, fmt.Errorf("no image %q in it; there are %s", tag, orNone(names))
	case len(names) > 1 && tag == "":
		return nil, fmt.Errorf("it holds several images; name one of %s behind a colon", strings.Join(names, ", "))
	}
	d, err := ofPlatform(found)
	if err != nil {
		return nil, err
	}
	return read(layout{b}, d)
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none with a name"
	}
	return strings.Join(names, ", ")
}

// savedImage is an image of manifest.json in an archive of docker save.
type savedImage struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// readSaved reads the image of a tag, "" being the only one, of an archive of docker
// save. Its files have no digests of their own but the config's, which names the layers'.
func readSaved(b blobs, tag string) (*image, error) {
	text, err := readDocument(b, "manifest.json")
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			if _, _, err := b.open("oci-layout"); err == nil {
				return nil, fmt.Errorf("it is an image layout; open it as oci-archive:FILE: %w", ErrFormat)
			}
		}
		return nil, missing(err, "manifest.json")
	}
	var list []savedImage
	if err := decode(text, &list, "manifest.json"); err != nil {
		return nil, err
	}
	var found []savedImage
	var names []string
	for _, m := range list {
		if tag == "" || slices.ContainsFunc(m.RepoTags, func(name string) bool { return name == tag || strings.HasSuffix(name, ":"+tag) }) {
			found = append(found, m)
		}
		names = append(names, m.RepoTags...)
	}
	switch {
	case len(found) == 0 && tag != "":
		return nil, fmt.Errorf("no image %q in it; there are %s", tag, orNone(names))
	case len(found) != 1:
		return nil, fmt.Errorf("it holds %d images; name one of %s behind a colon", len(found), orNone(names))
	}
	m := found[0]
	if len(m.Layers) > maxLayers {
		return nil, fmt.Errorf("%d layers, at most %d: %w", len(m.Layers), maxLayers, ErrTooLarge)
	}
	text, err = readDocument(b, m.Config)
	if err != nil {
		return nil, missing(err, "config "+m.Config)
	}
	config, err := parseConfig(text, len(m.Layers))
	if err != nil {
		return nil, err
	}
	digest, _, err := v1.SHA256(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	img := &image{digest: digest, config: config}
	for i, name := range m.Layers {
		r, size, err := b.open(name)
		if err != nil {
			return nil, missing(err, "layer "+name)
		}
		r.Close()
		img.layers = append(img.layers, layerRef{config.RootFS.DiffIDs[i], nil, size, func() (io.ReadCloser, error) {
			r, _, err := b.open(name)
			return r, err
		}})
	}
	return img, nil
}
