package nodefile

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
)

// idDomain separates node ids from other uses of SHA-256 and versions them.
const idDomain = "seuss node id 2"

// idHash feeds fields to a hash so that no two lists of fields feed the same
// bytes: every text is preceded by its length, every list by its count.
type idHash struct{ hash.Hash }

func (h idHash) num(n uint64) { h.Write(binary.LittleEndian.AppendUint64(nil, n)) }

func (h idHash) bytes(b []byte) {
	h.num(uint64(len(b)))
	h.Write(b)
}

func (h idHash) text(s string) { h.bytes([]byte(s)) }

func (h idHash) texts(list []string) {
	h.num(uint64(len(list)))
	for _, s := range list {
		h.text(s)
	}
}

// NodeID computes the id of a node from its parts. The pages enter through the
// guest pages that differ from the parent's and Info.Root over their digests, so
// the id does not depend on how the file stores them.
func NodeID(i *Info, state []byte, x *Index) string {
	h := idHash{sha256.New()}
	h.text(idDomain)
	h.text(i.Parent)
	h.text(string(i.Kind))
	k := &i.Key
	h.text(k.Function)
	h.text(k.Handler)
	h.text(k.CodeDigest)
	h.texts(k.Imports)
	h.num(uint64(len(k.Args)))
	for _, a := range k.Args {
		h.text(a.Key)
		h.text(a.Digest)
		h.text(a.Preview)
	}
	lazy := uint64(0)
	if k.Lazy {
		lazy = 1
	}
	h.num(lazy)
	h.text(k.NextKey)
	h.text(i.ImageDigest)
	h.text(i.CPUFeatures.Opaque)
	h.texts(i.CPUFeatures.Named)
	h.num(uint64(i.ABIVersion))
	h.bytes(state)
	h.num(x.GuestPages)
	runs := x.guestPageRuns()
	h.num(uint64(len(runs)))
	for _, r := range runs {
		h.num(r.First)
		h.num(r.Count)
	}
	h.text(i.Root)
	if k.Runtime != "" { // ids of nodes without one are older than it
		h.text("runtime")
		h.text(k.Runtime)
	}
	if k.Contract != "" { // likewise
		h.text("contract")
		h.text(k.Contract)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Metadata is the metadata section: Info, without the CPU features where they
// are the parent's, as they are for most nodes.
type Metadata struct {
	Info
	InheritCPU bool `json:"inherit_cpu,omitempty"`
}

// EncodeMetadata writes the metadata section of a node below parent, which is nil for
// an image node.
func EncodeMetadata(i, parent *Info) ([]byte, error) {
	m := Metadata{Info: *i}
	if parent != nil && i.CPUFeatures.Equal(&parent.CPUFeatures) {
		m.InheritCPU, m.CPUFeatures = true, CPUFeatures{}
	}
	b, err := json.Marshal(&m)
	if err != nil {
		return nil, fmt.Errorf("encode metadata of node %s: %w", i.ID, err)
	}
	if len(b) > maxMetadataBytes {
		return nil, fmt.Errorf("metadata of node %s has %d bytes, at most %d: %w", i.ID, len(b), maxMetadataBytes, ErrInvalid)
	}
	return b, nil
}

// DecodeMetadata reads the metadata section. Fields that this version does not know
// are refused: a new field comes with a new format version. The node's parent
// has to complete it, see inherit.
func DecodeMetadata(b []byte) (*Metadata, error) {
	m := new(Metadata)
	if err := DecodeStrict(b, m); err != nil {
		return nil, fmt.Errorf("metadata: %w: %w", err, ErrFormat)
	}
	if !ValidDigest(m.ID) {
		return nil, fmt.Errorf("metadata: id %q is not 64 hex digits: %w", m.ID, ErrFormat)
	}
	if err := m.Validate(); err != nil {
		return nil, fmt.Errorf("metadata: %w: %w", err, ErrFormat)
	}
	return m, nil
}

// Inherit takes from the parent what the metadata leaves to it, and shares with
// it the texts that are equal: a store has many nodes.
func (m *Metadata) Inherit(parent *Info) {
	if m.InheritCPU || m.CPUFeatures.Equal(&parent.CPUFeatures) {
		m.CPUFeatures = parent.CPUFeatures
	}
	m.Parent = parent.ID
	for _, share := range []struct {
		own *string
		of  string
	}{{&m.ImageDigest, parent.ImageDigest}, {&m.Key.Function, parent.Key.Function}, {&m.Key.Handler, parent.Key.Handler}, {&m.Key.CodeDigest, parent.Key.CodeDigest}} {
		if *share.own == share.of {
			*share.own = share.of
		}
	}
}

// DecodeStrict decodes exactly one JSON value without unknown fields.
func DecodeStrict(b []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("text after the JSON value at byte %d", d.InputOffset())
	}
	return nil
}
