package oci

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"reflect"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/klauspost/compress/zstd"

	"seuss/lineage"
)

// ImportOptions say what an importer accepts.
type ImportOptions struct {
	// ABIVersion is that of this program's guests; nodes of another are refused.
	ABIVersion uint32
	// CheckCPU judges the processor that a node was captured on; nil accepts all.
	CheckCPU func(lineage.CPUFeatures) error
	// CheckImage verifies that the image file at path has this digest.
	CheckImage func(path, digest string) error
	// MaxBytes bounds all that the image is unpacked: its root image, and of each node its
	// layer or its pages, whichever is more; 0 means what the source was opened with, else
	// DefaultMaxBytes.
	MaxBytes int64
	// Tell is told what is being done; nil means nobody.
	Tell func(step string)
}

// Imported says what an import did.
type Imported struct {
	Node    *lineage.Node   // the image's own
	Added   []*lineage.Node // what was not there before
	Bytes   int64           // of layers that were read
	Skipped int             // layers that were not needed
}

// Import puts the nodes of an image into a store, those that are not there, from the
// root down. Each is verified completely before it shows; after an error those
// before it stay, as a smaller tree.
func Import(s *lineage.Store, src *Source, o ImportOptions) (*Imported, error) {
	o.MaxBytes = cmp.Or(o.MaxBytes, src.stored, DefaultMaxBytes)
	room := src.room
	if room == nil {
		room = func(int64) error { return nil }
	}
	if o.Tell == nil {
		o.Tell = func(string) {}
	}
	_, m, c, err := src.describe()
	if err != nil {
		return nil, err
	}
	// What differs is said before anything is transferred.
	for i := range c.Nodes {
		if err := o.check(&c.Nodes[i]); err != nil {
			return nil, err
		}
	}
	missing, err := unpacked(s, m, c, o.MaxBytes)
	if err != nil {
		return nil, err
	}
	if err := room(missing); err != nil {
		return nil, err
	}
	done := &Imported{}
	for i := range c.Nodes {
		n, err := s.Get(c.Nodes[i].ID)
		if err == nil {
			done.Node = n
			done.Skipped++
			if i == 0 {
				done.Skipped++
			}
			continue
		}
		if i == 0 {
			o.Tell("importing the image")
			if err := room(c.Image.Bytes); err != nil {
				return nil, err
			}
			if err := importImage(s, src, m.Layers[0], c.Image, &o, done); err != nil {
				return nil, err
			}
		}
		o.Tell("importing snapshot " + c.Nodes[i].ID[:12])
		if err := room(m.Layers[i+1].Size); err != nil {
			return nil, err
		}
		if n, err = importNode(s, src, m.Layers[i+1], &c.Nodes[i], &o, done); err != nil {
			return nil, err
		}
		done.Node = n
		done.Added = append(done.Added, n)
	}
	return done, nil
}

// unpacked refuses an image that unpacks to more than limit, and returns what its nodes
// take that are not in the store. A node that comes as differences may be stored as pages.
func unpacked(s *lineage.Store, m *v1.Manifest, c *config, limit int64) (missing int64, err error) {
	left := uint64(limit)
	take := func(bytes uint64) {
		if bytes > left {
			err = fmt.Errorf("the image unpacks to more than %d bytes: %w", limit, ErrTooLarge)
			return
		}
		left -= bytes
	}
	if m.Layers[0].Size > limit {
		return 0, fmt.Errorf("the image's layer has %d bytes, at most %d: %w", m.Layers[0].Size, limit, ErrTooLarge)
	}
	for i := 0; i < len(c.Nodes) && err == nil; i++ {
		before := left
		if i == 0 {
			take(uint64(c.Image.Bytes))
		}
		if err == nil {
			take(max(uint64(m.Layers[i+1].Size), c.Nodes[i].DeltaBytes))
		}
		if _, unknown := s.Get(c.Nodes[i].ID); unknown != nil {
			missing += int64(before - left)
		}
	}
	return missing, err
}

// check refuses by name what differs.
func (o *ImportOptions) check(n *lineage.Info) error {
	if n.Kind == lineage.KindImage {
		return nil
	}
	if n.ABIVersion != o.ABIVersion {
		return fmt.Errorf("node %.12s (%s) has guest ABI %d, this program has %d: %w", n.ID, n.Kind, n.ABIVersion, o.ABIVersion, ErrMismatch)
	}
	if o.CheckCPU != nil {
		if err := o.CheckCPU(n.CPUFeatures); err != nil {
			return fmt.Errorf("node %.12s (%s): %w: %w", n.ID, n.Kind, err, ErrMismatch)
		}
	}
	return nil
}

func importImage(s *lineage.Store, src *Source, d v1.Descriptor, want imageFile, o *ImportOptions, done *Imported) error {
	r, err := src.blobs.blob(d)
	if err != nil {
		return fmt.Errorf("image layer: %w", err)
	}
	defer r.Close()
	body := checked(r, d)
	z, err := zstd.NewReader(body, zstd.WithDecoderMaxWindow(8<<20), zstd.WithDecoderConcurrency(1))
	if err != nil {
		return fmt.Errorf("image layer: %w", err)
	}
	defer z.Close()
	// However much it would unpack to, no more than the config says is written.
	err = s.Transfer().AdoptImage(want.Digest, z, want.Bytes, func(path string) error {
		if _, err := io.Copy(io.Discard, body); err != nil { // to the end, for the digest
			return err
		}
		if o.CheckImage == nil {
			return nil
		}
		return o.CheckImage(path, want.Digest)
	})
	done.Bytes += d.Size
	if err != nil {
		return fmt.Errorf("image layer: %w", err)
	}
	return nil
}

func importNode(s *lineage.Store, src *Source, d v1.Descriptor, want *lineage.Info, o *ImportOptions, done *Imported) (*lineage.Node, error) {
	r, err := src.blobs.blob(d)
	if err != nil {
		return nil, fmt.Errorf("layer of node %.12s: %w", want.ID, err)
	}
	defer r.Close()
	n, err := s.Transfer().Adopt(checked(r, d), d.Size, func(got *lineage.Info) error {
		x := *want
		x.Created = got.Created
		if !got.Created.Equal(want.Created) || !reflect.DeepEqual(&x, got) {
			return fmt.Errorf("the layer does not hold the node %.12s that the config describes: %w", want.ID, ErrFormat)
		}
		return o.check(got)
	})
	done.Bytes += d.Size
	if err != nil {
		return nil, fmt.Errorf("layer of node %.12s: %w", want.ID, err)
	}
	if n.ID != want.ID {
		return nil, fmt.Errorf("the layer of node %.12s holds %.12s: %w", want.ID, n.ID, ErrFormat)
	}
	return n, nil
}

// checkedReader gives out no more than a descriptor says, and an error in place of
// the end if that was not what the descriptor names.
type checkedReader struct {
	r    io.Reader
	want v1.Descriptor
	hash hash.Hash
	n    int64
}

func checked(r io.Reader, d v1.Descriptor) *checkedReader {
	return &checkedReader{r: r, want: d, hash: sha256.New()}
}

func (c *checkedReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	c.hash.Write(p[:n])
	if c.n > c.want.Size {
		return 0, fmt.Errorf("blob %v has more than %d bytes: %w", c.want.Digest, c.want.Size, lineage.ErrLength)
	}
	if err == io.EOF {
		got := hex.EncodeToString(c.hash.Sum(nil))
		if c.n < c.want.Size {
			return n, fmt.Errorf("blob %v has %d of %d bytes: %w", c.want.Digest, c.n, c.want.Size, lineage.ErrLength)
		}
		if c.want.Digest.Algorithm != "sha256" || got != c.want.Digest.Hex {
			return n, fmt.Errorf("blob %v has the digest %s: %w", c.want.Digest, got, lineage.ErrChecksum)
		}
	}
	return n, err
}
