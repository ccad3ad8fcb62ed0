package lineage

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
const idDomain = "seuss node id 1"

// idHash feeds fields to a hash so that no two lists of fields feed the same
// bytes: every text is preceded by its length, every list by its count.
type idHash struct{ hash.Hash }

func (h idHash) num(n uint64) { h.Write(binary.LittleEndian.AppendUint64(nil, n)) }

func (h idHash) bytes(b []byte) {
	h.num(uint64(len(b)))
	h.Write(b)
}

func (h idHash) text(s string) { h.bytes([]byte(s)) }

// nodeID computes the id of a node from its parts. The pages enter through
// Info.DataDigest, which is a digest of their hashes.
func nodeID(i *Info, state, index []byte) string {
	h := idHash{sha256.New()}
	h.text(idDomain)
	h.text(i.Parent)
	h.text(string(i.Kind))
	k := &i.Key
	h.text(k.Function)
	h.text(k.Handler)
	h.text(k.CodeDigest)
	h.num(uint64(len(k.Imports)))
	for _, s := range k.Imports {
		h.text(s)
	}
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
	h.bytes(state)
	h.bytes(index)
	h.text(i.DataDigest)
	return hex.EncodeToString(h.Sum(nil))
}

// encodeInfo writes the metadata section.
func encodeInfo(i *Info) ([]byte, error) {
	b, err := json.Marshal(i)
	if err != nil {
		return nil, fmt.Errorf("encode metadata of node %s: %w", i.ID, err)
	}
	if len(b) > maxMetadataBytes {
		return nil, fmt.Errorf("metadata of node %s has %d bytes, at most %d: %w", i.ID, len(b), maxMetadataBytes, ErrInvalid)
	}
	return b, nil
}

// decodeInfo reads the metadata section. Fields that this version does not know
// are refused: a new field comes with a new format version.
func decodeInfo(b []byte) (*Info, error) {
	i := new(Info)
	if err := decodeStrict(b, i); err != nil {
		return nil, fmt.Errorf("metadata: %w: %w", err, ErrFormat)
	}
	if !validDigest(i.ID) {
		return nil, fmt.Errorf("metadata: id %q is not 64 hex digits: %w", i.ID, ErrFormat)
	}
	if err := i.validate(); err != nil {
		return nil, fmt.Errorf("metadata: %w: %w", err, ErrFormat)
	}
	return i, nil
}

// decodeStrict decodes exactly one JSON value without unknown fields.
func decodeStrict(b []byte, into any) error {
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
