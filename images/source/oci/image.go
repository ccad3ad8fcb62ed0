package oci

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"seuss/images"
	"seuss/images/source"
)

const (
	// maxLayers is more than any tool makes; Docker's limit is 127.
	maxLayers = 512
	// maxIndexes is how deep indexes lie in one another.
	maxIndexes = 4
)

// guestPlatform is what guests run.
var guestPlatform = v1.Platform{OS: "linux", Architecture: "amd64"}

// store returns content by its descriptor, not yet checked.
type store interface {
	blob(d v1.Descriptor) (io.ReadCloser, error)
	manifest(d v1.Descriptor) ([]byte, error)
}

// image is a container image, whose manifest and config match their digests.
type image struct {
	digest v1.Hash // of the manifest; of an archive of docker save, of the config
	config *v1.ConfigFile
	layers []layerRef
}

// layerRef is one layer of an image's, the base first.
type layerRef struct {
	diffID v1.Hash  // of the tar archive
	digest *v1.Hash // of the blob; nil: it has none of its own
	size   int64    // of the blob
	open   func() (io.ReadCloser, error)
}

// choose follows an index to the manifest of the guests' platform.
func choose(s store, d v1.Descriptor) (v1.Descriptor, []byte, error) {
	for range maxIndexes {
		raw, err := s.manifest(d)
		if err != nil {
			return d, nil, err
		}
		if d.MediaType == "" {
			if d.MediaType, err = mediaType(raw); err != nil {
				return d, nil, err
			}
		}
		switch {
		case d.MediaType.IsImage():
			return d, raw, nil
		case !d.MediaType.IsIndex():
			return d, nil, fmt.Errorf("manifest of type %q: want an OCI image or one of Docker's schema 2: %w", d.MediaType, ErrFormat)
		}
		index, err := v1.ParseIndexManifest(bytes.NewReader(raw))
		if err != nil {
			return d, nil, fmt.Errorf("index: %w: %w", err, ErrFormat)
		}
		if d, err = ofPlatform(index.Manifests); err != nil {
			return d, nil, err
		}
	}
	return d, nil, fmt.Errorf("more than %d indexes in one another: %w", maxIndexes, ErrFormat)
}

// ofPlatform picks what guests can run. What does not say for what it is counts, and
// its config tells.
func ofPlatform(list []v1.Descriptor) (v1.Descriptor, error) {
	var unnamed []v1.Descriptor
	others := map[string]bool{}
	for _, d := range list {
		switch {
		case d.Platform == nil:
			if d.MediaType.IsImage() || d.MediaType.IsIndex() {
				unnamed = append(unnamed, d)
			}
		case d.Platform.OS == guestPlatform.OS && d.Platform.Architecture == guestPlatform.Architecture:
			return d, nil
		case d.Platform.OS != "unknown": // attestations
			others[d.Platform.String()] = true
		}
	}
	if len(unnamed) > 0 {
		return unnamed[0], nil
	}
	if len(others) == 0 {
		return v1.Descriptor{}, fmt.Errorf("an index without images: %w", ErrFormat)
	}
	return v1.Descriptor{}, fmt.Errorf("%w but for %s only", ErrPlatform, strings.Join(slices.Sorted(maps.Keys(others)), ", "))
}

// read reads the image behind a descriptor.
func read(s store, d v1.Descriptor) (*image, error) {
	d, raw, err := choose(s, d)
	if err != nil {
		return nil, err
	}
	m, err := v1.ParseManifest(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("manifest: %w: %w", err, ErrFormat)
	}
	if len(m.Layers) > maxLayers {
		return nil, fmt.Errorf("%d layers, at most %d: %w", len(m.Layers), maxLayers, ErrTooLarge)
	}
	if m.Config.Size < 0 || m.Config.Size > maxDocument {
		return nil, fmt.Errorf("config of %d bytes, at most %d: %w", m.Config.Size, maxDocument, ErrTooLarge)
	}
	r, err := s.blob(m.Config)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	defer r.Close()
	text, err := io.ReadAll(verified(r, m.Config.Digest, m.Config.Size))
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	config, err := parseConfig(text, len(m.Layers))
	if err != nil {
		return nil, err
	}
	img := &image{digest: d.Digest, config: config}
	for i, l := range m.Layers {
		if err := checkLayer(l); err != nil {
			return nil, fmt.Errorf("layer %d: %w", i+1, err)
		}
		img.layers = append(img.layers, layerRef{config.RootFS.DiffIDs[i], &l.Digest, l.Size, func() (io.ReadCloser, error) { return s.blob(l) }})
	}
	return img, nil
}

// checkLayer refuses what is no tar archive, as far as its type says.
func checkLayer(d v1.Descriptor) error {
	if d.Size < 0 {
		return fmt.Errorf("%d bytes: %w", d.Size, ErrFormat)
	}
	switch d.MediaType {
	case types.OCILayer, types.OCILayerZStd, types.OCIUncompressedLayer, types.DockerLayer, types.DockerUncompressedLayer,
		types.OCIRestrictedLayer, types.OCIUncompressedRestrictedLayer, types.DockerForeignLayer:
		return nil
	}
	return fmt.Errorf("type %q is not one of a root file system: %w", d.MediaType, ErrFormat)
}

func parseConfig(text []byte, layers int) (*v1.ConfigFile, error) {
	c, err := v1.ParseConfigFile(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("config: %w: %w", err, ErrFormat)
	}
	if c.OS != guestPlatform.OS || c.Architecture != guestPlatform.Architecture {
		return nil, fmt.Errorf("%w but for %s/%s", ErrPlatform, c.OS, c.Architecture)
	}
	if len(c.RootFS.DiffIDs) != layers {
		return nil, fmt.Errorf("config names %d layers, the manifest %d: %w", len(c.RootFS.DiffIDs), layers, ErrFormat)
	}
	for _, id := range c.RootFS.DiffIDs {
		if err := checkDigest(id); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// checkDigest holds digests to the one algorithm that everybody uses.
func checkDigest(d v1.Hash) error {
	if b, err := hex.DecodeString(d.Hex); d.Algorithm != "sha256" || err != nil || len(b) != sha256.Size {
		return fmt.Errorf("digest %.100q is not one of SHA-256: %w", d.String(), ErrFormat)
	}
	return nil
}

// maxCreatedBy bounds what is kept of how a layer was made.
const maxCreatedBy = 500

// sourceConfig is what the image says of its program.
func (img *image) sourceConfig() source.Config {
	c := img.config.Config
	out := source.Config{Env: c.Env, Labels: c.Labels, Container: images.Container{
		Entrypoint: c.Entrypoint, Cmd: c.Cmd, WorkingDir: c.WorkingDir, User: c.User,
		ExposedPorts: slices.Sorted(maps.Keys(c.ExposedPorts)), StopSignal: c.StopSignal,
	}}
	for _, l := range img.layers {
		out.Layers = append(out.Layers, images.Layer{DiffID: l.diffID.String()})
	}
	i := 0
	for _, h := range img.config.History {
		if h.EmptyLayer || i == len(out.Layers) {
			continue
		}
		out.Layers[i].CreatedBy = strings.ToValidUTF8(h.CreatedBy[:min(len(h.CreatedBy), maxCreatedBy)], "")
		i++
	}
	return out
}

// decode reads a JSON document of an archive.
func decode(text []byte, into any, what string) error {
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("%s: %w: %w", what, err, ErrFormat)
	}
	return nil
}
