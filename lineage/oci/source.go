package oci

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"seuss/lineage"
)

// Source is an image to import: of a layout, an archive or a registry. Close it. It is used
// by one goroutine at a time.
type Source struct {
	blobs  blobReader
	temp   string // directory
	known  *description
	stored int64             // bound of what Import unpacks; 0: none of the source's own
	room   func(int64) error // Spool.Room, or nil
}

// description is what an image's manifest and config say.
type description struct {
	raw      []byte // the manifest
	manifest *v1.Manifest
	config   *config
}

// Close removes temporary files. The Source cannot be used afterwards.
func (src *Source) Close() error {
	if src.temp == "" {
		return nil
	}
	return os.RemoveAll(src.temp)
}

// blobReader is what an importer reads: an image whose manifest and config are
// bounded, and whose layers stream.
type blobReader interface {
	readManifest() ([]byte, error)
	blob(d v1.Descriptor) (io.ReadCloser, error)
}

// describe reads and checks the manifest and the config, once.
func (src *Source) describe() (raw []byte, m *v1.Manifest, c *config, err error) {
	if d := src.known; d != nil {
		return d.raw, d.manifest, d.config, nil
	}
	if raw, err = src.blobs.readManifest(); err != nil {
		return nil, nil, nil, err
	}
	if m, err = decodeManifest(raw); err != nil {
		return nil, nil, nil, err
	}
	r, err := src.blobs.blob(m.Config)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("config: %w", err)
	}
	defer r.Close()
	b, err := io.ReadAll(checked(r, m.Config))
	if err != nil {
		return nil, nil, nil, fmt.Errorf("config: %w", err)
	}
	if c, err = decodeConfig(b); err != nil {
		return nil, nil, nil, err
	}
	if len(c.Nodes) != len(m.Layers)-1 {
		return nil, nil, nil, fmt.Errorf("%d nodes in %d layers: %w", len(c.Nodes), len(m.Layers)-1, ErrFormat)
	}
	src.known = &description{raw, m, c}
	return raw, m, c, nil
}

// smallFiles is more than an archive's files take that are no blobs of the manifest.
const smallFiles = 1 << 20

// SendBytes is a bound of what the files take that Send writes.
func (src *Source) SendBytes(has func(id string) bool) (int64, error) {
	raw, m, c, err := src.describe()
	if err != nil {
		return 0, err
	}
	bytes := int64(len(raw)) + m.Config.Size + smallFiles
	for i, n := range c.Nodes {
		if has(n.ID) {
			continue
		}
		if i == 0 {
			bytes += m.Layers[0].Size
		}
		bytes += m.Layers[i+1].Size
	}
	return bytes, nil
}

// Send writes the image as an archive for a store that has some of its nodes: their
// layers are left out, and Import of what OpenArchive makes of it does not ask for
// them. The layers are not checked: the importer does that.
func (src *Source) Send(w io.Writer, has func(id string) bool) error {
	raw, m, c, err := src.describe()
	if err != nil {
		return err
	}
	manifest := v1.Descriptor{MediaType: types.OCIManifestSchema1, Size: int64(len(raw)), Digest: digestOf(raw)}
	index, err := json.Marshal(v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{manifest}})
	if err != nil {
		return fmt.Errorf("encode index: %w", err)
	}
	t := tar.NewWriter(w)
	for _, f := range []struct {
		name    string
		content []byte
	}{{"oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`)}, {"index.json", index}, {blobPath(manifest.Digest), raw}} {
		if err := t.WriteHeader(&tar.Header{Name: f.name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(f.content))}); err != nil {
			return err
		}
		if _, err := t.Write(f.content); err != nil {
			return err
		}
	}
	sent := map[v1.Hash]bool{manifest.Digest: true}
	send := func(what string, d v1.Descriptor) error {
		if sent[d.Digest] {
			return nil
		}
		sent[d.Digest] = true
		if err := src.sendBlob(t, d); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		return nil
	}
	if err := send("config", m.Config); err != nil {
		return err
	}
	for i := range c.Nodes {
		if has(c.Nodes[i].ID) {
			continue
		}
		if i == 0 {
			if err := send("image layer", m.Layers[0]); err != nil {
				return err
			}
		}
		if err := send(fmt.Sprintf("layer of node %.12s", c.Nodes[i].ID), m.Layers[i+1]); err != nil {
			return err
		}
	}
	return t.Close()
}

func (src *Source) sendBlob(t *tar.Writer, d v1.Descriptor) error {
	r, err := src.blobs.blob(d)
	if err != nil {
		return err
	}
	defer r.Close()
	if err := t.WriteHeader(&tar.Header{Name: blobPath(d.Digest), Typeflag: tar.TypeReg, Mode: 0o644, Size: d.Size}); err != nil {
		return err
	}
	n, err := io.Copy(t, io.LimitReader(r, d.Size))
	if err == nil && n < d.Size {
		err = fmt.Errorf("blob %v has %d of %d bytes: %w", d.Digest, n, d.Size, lineage.ErrLength)
	}
	return err
}

func blobPath(d v1.Hash) string { return "blobs/sha256/" + d.Hex }

func digestOf(b []byte) v1.Hash {
	sum := sha256.Sum256(b)
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}
}
