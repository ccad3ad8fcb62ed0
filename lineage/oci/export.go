package oci

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"

	"seuss/lineage"
	"seuss/lineage/imagefile"
)

// Bundle is a lineage as an OCI image. Close releases what it has on disk.
type Bundle struct {
	v1.Image
	temp string // directory, "" for one that is made as it is read
}

// Close removes temporary files. The Bundle cannot be used afterwards.
func (b *Bundle) Close() error {
	if b.temp == "" {
		return nil
	}
	return os.RemoveAll(b.temp)
}

// Export makes an image of the node with this exact id and its ancestors. tell,
// which may be nil, is told what is being done. Its layers are made as they are read,
// and are the same each time, so that it takes no disk. The store must stay open, and
// the nodes in it, until the Bundle is closed.
func Export(s *lineage.Store, id string, tell func(step string)) (_ *Bundle, err error) {
	if tell == nil {
		tell = func(string) {}
	}
	n, err := s.Get(id)
	if err != nil {
		return nil, fmt.Errorf("export: %w", err)
	}
	chain, err := s.Lineage(n)
	if err != nil {
		return nil, fmt.Errorf("export: %w", err)
	}
	if len(chain) > maxDepth {
		return nil, fmt.Errorf("export node %s: %d nodes deep, at most %d; flatten it first: %w", id, len(chain), maxDepth, ErrTooLarge)
	}
	b := &Bundle{}
	defer func() {
		if err != nil {
			err = fmt.Errorf("export node %s: %w", id, err)
		}
	}()
	im := &image{layers: map[v1.Hash]*layer{}}
	c := config{Schema: configSchema}
	tell("compressing the image")
	files, err := s.Transfer().ImageFiles(n.ImageDigest)
	if err != nil {
		return nil, err
	}
	first, bytes, err := packImage(files)
	if err != nil {
		return nil, err
	}
	c.Image = imageFile{Digest: n.ImageDigest, Bytes: bytes}
	layers := []*layer{first}
	for _, node := range chain {
		tell("exporting snapshot " + node.ID[:12])
		p, err := s.Transfer().Export(node.ID)
		if err != nil {
			return nil, err
		}
		l := &layer{open: func() (io.ReadCloser, error) { return p.Open() }, mediaType: NodeType}
		if err := l.measure(); err != nil {
			return nil, err
		}
		layers = append(layers, l)
		c.Nodes = append(c.Nodes, p.Info)
	}
	if err := im.build(&c, layers); err != nil {
		return nil, err
	}
	if b.Image, err = partial.CompressedToImage(im); err != nil {
		return nil, err
	}
	return b, nil
}

// packImage compresses the files of a root image.
func packImage(paths []string) (*layer, int64, error) {
	total, err := imagefile.StreamBytes(paths)
	if err != nil {
		return nil, 0, err
	}
	l := &layer{open: func() (io.ReadCloser, error) { return compressed(paths) }, mediaType: ImageType}
	return l, total, l.measure()
}

// compressed reads the files of an image through a compressor of one thread, so that the
// bytes, and with them the digest, are the same each time and on every machine.
func compressed(paths []string) (io.ReadCloser, error) {
	r, w := io.Pipe()
	z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20))
	if err != nil {
		return nil, err
	}
	go func() { // ends with the files, or when r is closed
		err := imagefile.WriteStream(z, paths)
		if err = errors.Join(err, z.Close()); err != nil {
			err = fmt.Errorf("compress %s: %w", paths[0], err)
		}
		w.CloseWithError(err)
	}()
	return r, nil
}

// layer is a blob that can be read again and again.
type layer struct {
	open      func() (io.ReadCloser, error)
	mediaType types.MediaType
	digest    v1.Hash
	size      int64
}

func (l *layer) measure() error {
	r, err := l.open()
	if err != nil {
		return err
	}
	defer r.Close()
	h := sha256.New()
	if l.size, err = io.Copy(h, r); err != nil {
		return err
	}
	l.digest = v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(h.Sum(nil))}
	return nil
}

func (l *layer) Digest() (v1.Hash, error)             { return l.digest, nil }
func (l *layer) Size() (int64, error)                 { return l.size, nil }
func (l *layer) MediaType() (types.MediaType, error)  { return l.mediaType, nil }
func (l *layer) Compressed() (io.ReadCloser, error)   { return l.open() }
func (l *layer) DiffID() (v1.Hash, error)             { return l.digest, nil }
func (l *layer) Uncompressed() (io.ReadCloser, error) { return l.open() }

// image is what partial.CompressedToImage completes.
type image struct {
	config, manifest []byte
	layers           map[v1.Hash]*layer
}

func (im *image) build(c *config, layers []*layer) (err error) {
	if im.config, err = json.Marshal(c); err != nil {
		return fmt.Errorf("encode config: %w", err)
	}
	if len(im.config) > maxConfigBytes {
		return fmt.Errorf("config of %d bytes, at most %d: %w", len(im.config), maxConfigBytes, ErrTooLarge)
	}

	m := v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1,
		Config: v1.Descriptor{MediaType: ConfigType, Size: int64(len(im.config)), Digest: digestOf(im.config)},
	}
	for i, l := range layers {
		im.layers[l.digest] = l
		d := v1.Descriptor{MediaType: l.mediaType, Size: l.size, Digest: l.digest}
		if i > 0 {
			d.Annotations = map[string]string{"seuss.node": c.Nodes[i-1].ID}
		}
		m.Layers = append(m.Layers, d)
	}
	if im.manifest, err = json.Marshal(&m); err != nil {
		return fmt.Errorf("encode manifest: %w", err)
	}
	return nil
}

func (im *image) RawConfigFile() ([]byte, error)      { return im.config, nil }
func (im *image) RawManifest() ([]byte, error)        { return im.manifest, nil }
func (im *image) MediaType() (types.MediaType, error) { return types.OCIManifestSchema1, nil }
func (im *image) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	if l := im.layers[h]; l != nil {
		return l, nil
	}
	return nil, fmt.Errorf("layer %v: %w", h, lineage.ErrNotFound)
}
