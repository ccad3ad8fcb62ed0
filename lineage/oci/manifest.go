package oci

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"seuss/lineage"
)

// Media types of what an image consists of. A change of a format is a new type.
const (
	ConfigType types.MediaType = "application/vnd.seuss.lineage.v1+json"
	NodeType   types.MediaType = "application/vnd.seuss.node.v2"
	ImageType  types.MediaType = "application/vnd.seuss.image.v1+zstd"
)

// Bounds of what an importer takes in.
const (
	maxManifestBytes = 4 << 20
	maxConfigBytes   = 8 << 20
	maxDepth         = 4096 // nodes of a chain
	// DefaultMaxBytes bounds a whole image, unpacked: ImportOptions.MaxBytes.
	DefaultMaxBytes = 16 << 30
)

// Errors of an import, beside those of package lineage.
var (
	// ErrFormat: this is no image of a lineage, or breaks the rules of one.
	ErrFormat = errors.New("not an image of a lineage")
	// ErrTooLarge: it takes more than the importer allows.
	ErrTooLarge = errors.New("too large")
	// ErrMismatch: it does not fit this host or this program.
	ErrMismatch = errors.New("does not fit here")
)

// config is the OCI config: what the layers are.
type config struct {
	Schema int       `json:"schema"`
	Image  imageFile `json:"image"`
	Nodes  chain     `json:"nodes"` // from the root down
}

// chain is decoded one by one, so that a short text cannot become a long list.
type chain []lineage.Info

func (c *chain) UnmarshalJSON(b []byte) error {
	return each(b, maxDepth, func(d *json.Decoder) error {
		d.DisallowUnknownFields()
		var n lineage.Info
		if err := d.Decode(&n); err != nil {
			return err
		}
		*c = append(*c, n)
		return nil
	})
}

// counted is a list of which only the length is wanted, and that is bounded.
type counted int

func (c *counted) UnmarshalJSON(b []byte) error {
	return each(b, maxDepth+1, func(d *json.Decoder) error {
		*c++
		return d.Decode(new(json.RawMessage))
	})
}

// each calls f for every element of a list of at most limit.
func each(b []byte, limit int, f func(*json.Decoder) error) error {
	d := json.NewDecoder(bytes.NewReader(b))
	if t, err := d.Token(); err != nil || t != json.Delim('[') {
		return fmt.Errorf("%v is no list (%v)", t, err)
	}
	for n := 0; d.More(); n++ {
		if n >= limit {
			return fmt.Errorf("list of more than %d: %w", limit, ErrTooLarge)
		}
		if err := f(d); err != nil {
			return err
		}
	}
	return nil
}

// checkCounts refuses an index or manifest whose lists are long, before the
// library makes structures of their elements.
func checkCounts(b []byte) error {
	var lists struct {
		Layers    counted `json:"layers"`
		Manifests counted `json:"manifests"`
	}
	if err := json.Unmarshal(b, &lists); err != nil {
		return fmt.Errorf("%w: %w", err, ErrFormat)
	}
	return nil
}

const configSchema = 1

// imageFile is the root image's file, with those of its layers behind it.
type imageFile struct {
	Digest string `json:"digest"`
	Bytes  int64  `json:"bytes"` // unpacked
}

// decodeConfig reads a config and checks that its nodes are one chain: each one's
// parent is the one before it, so there are no circles.
func decodeConfig(b []byte) (*config, error) {
	if len(b) > maxConfigBytes {
		return nil, fmt.Errorf("config of %d bytes, at most %d: %w", len(b), maxConfigBytes, ErrTooLarge)
	}
	c := new(config)
	if err := strict(b, c); err != nil {
		return nil, fmt.Errorf("config: %w: %w", err, ErrFormat)
	}
	if c.Schema != configSchema {
		return nil, fmt.Errorf("config has the schema %d, this program reads %d: %w", c.Schema, configSchema, ErrFormat)
	}
	if len(c.Nodes) == 0 {
		return nil, fmt.Errorf("config without nodes: %w", ErrFormat)
	}
	parent := ""
	for i := range c.Nodes {
		n := &c.Nodes[i]
		if n.Parent != parent || n.ID == "" || (n.Kind == lineage.KindImage) != (i == 0) || n.ImageDigest != c.Image.Digest {
			return nil, fmt.Errorf("node %d of the config (%.12s, %s) does not hang on the one before it (%.12s) or has another image: %w", i, n.ID, n.Kind, parent, ErrFormat)
		}
		if _, err := lineage.ParseDigest(n.ID); err != nil {
			return nil, fmt.Errorf("node %d of the config: %w: %w", i, err, ErrFormat)
		}
		parent = n.ID
	}
	if _, err := lineage.ParseDigest(c.Image.Digest); err != nil || c.Image.Bytes <= 0 || c.Image.Bytes%lineage.PageSize != 0 {
		return nil, fmt.Errorf("config has an image %q of %d bytes: %w", c.Image.Digest, c.Image.Bytes, ErrFormat)
	}
	return c, nil
}

// decodeManifest reads a manifest and checks its shape: a config, an image layer,
// then node layers.
func decodeManifest(b []byte) (*v1.Manifest, error) {
	if len(b) > maxManifestBytes {
		return nil, fmt.Errorf("manifest of %d bytes, at most %d: %w", len(b), maxManifestBytes, ErrTooLarge)
	}
	if err := checkCounts(b); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	m, err := v1.ParseManifest(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("manifest: %w: %w", err, ErrFormat)
	}
	switch {
	case m.Config.MediaType != ConfigType:
		return nil, fmt.Errorf("its config is a %q, want %q: %w", m.Config.MediaType, ConfigType, ErrFormat)
	case m.Config.Size < 0 || m.Config.Size > maxConfigBytes:
		return nil, fmt.Errorf("config of %d bytes, at most %d: %w", m.Config.Size, maxConfigBytes, ErrTooLarge)
	case len(m.Layers) < 2 || len(m.Layers) > maxDepth+1:
		return nil, fmt.Errorf("%d layers, 2 to %d are possible: %w", len(m.Layers), maxDepth+1, ErrTooLarge)
	}
	for i, l := range m.Layers {
		want := NodeType
		if i == 0 {
			want = ImageType
		}
		if l.MediaType != want {
			return nil, fmt.Errorf("layer %d is a %q, want %q: %w", i, l.MediaType, want, ErrFormat)
		}
		if l.Size <= 0 {
			return nil, fmt.Errorf("layer %d has %d bytes: %w", i, l.Size, ErrFormat)
		}
	}
	return m, nil
}

func strict(b []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("text after the JSON value")
	}
	return nil
}
