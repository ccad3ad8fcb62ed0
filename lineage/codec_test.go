package lineage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"slices"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
)

func FuzzNodeFile(f *testing.F) {
	for _, path := range golden(f, "*") {
		b, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		if len(b) > 32<<10 {
			continue // a small file makes for fast mutation
		}
		f.Add(b, false)
		f.Add(b, true)
		f.Add(b[:len(b)-100], true)
	}
	f.Fuzz(func(t *testing.T, b []byte, sealed bool) {
		if sealed {
			b = bytes.Clone(b)
			reseal(b)
		}
		info, x, err := decodeAll(b)
		if err != nil {
			return
		}
		if err := info.validate(); err != nil {
			t.Fatalf("accepted metadata is invalid: %v", err)
		}
		if again, err := decodeIndex(x.encode()); err != nil || len(again.runs) != len(x.runs) {
			t.Fatalf("an accepted index is refused when written again: %v", err)
		}
	})
}

func FuzzIndex(f *testing.F) {
	f.Add((&pageIndex{}).encode())
	f.Add((&pageIndex{guestPages: 100, dataPages: 65, runs: []indexRun{{1, 2, 3}, {3, 1, zeroRun}}, sums: make([]uint32, 65)}).encode())
	f.Add((&pageIndex{guestPages: 9, dataPages: 1, runs: []indexRun{{1, 1, 0}}, sums: []uint32{5}, digests: make([]Digest, 1)}).encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := decodeIndex(b)
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatalf("not ErrFormat: %v", err)
			}
			return
		}
		if !bytes.Equal(x.encode(), b) {
			t.Fatal("two encodings of one index")
		}
		_ = x.guestRuns(0, x.dataPages)
	})
}

// FuzzDifferences decodes hostile differences of two pages that are packed well.
func FuzzDifferences(f *testing.F) {
	var e deltaEncoder
	e.addState([]byte("old state"), []byte("new state, longer"))
	one, two := testPage(1), testPage(2)
	e.add(zeroPage[:], one)
	e.add(one, two)
	data, err := e.encode()
	if err != nil {
		f.Fatal(err)
	}
	raw, err := s2.Decode(nil, data[diffsHeaderBytes:])
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw, uint32(e.stateBytes), uint32(len(e.words)/wordBytes))
	f.Add(make([]byte, 2*pageMaskBytes), uint32(0), uint32(0))
	f.Add(make([]byte, 8+2*pageMaskBytes+1), uint32(9), uint32(1))
	// Of version 2.
	f.Add([]byte{0, 3, 0, 0, 0}, uint32(0), uint32(0))
	f.Add([]byte{1, 2, 1, 1, 0xff}, uint32(0), uint32(0))
	f.Add(append([]byte{9, 11, 1, 2, 0, 1, 2, 5, 1, 0, 9, 1, 0}, make([]byte, 6*wordBytes)...), uint32(0), uint32(0))
	zstdEncoder, err := zstd.NewWriter(nil, zstd.WithSingleSegment(true))
	if err != nil {
		f.Fatal(err)
	}
	x := &pageIndex{guestPages: 2, dataPages: 2, runs: []indexRun{{0, 2, 0}}, sums: make([]uint32, 2)}
	f.Fuzz(func(t *testing.T, raw []byte, state, words uint32) {
		runs := zstdEncoder.EncodeAll(raw, binary.LittleEndian.AppendUint32(nil, uint32(len(raw))))
		for _, data := range [][]byte{packDifferences(raw, state, words), runs, raw} { // the last not packed at all
			for _, version := range []uint32{nodeVersion, nodeVersionMasks} {
				if err := decodeDifferences(version, data, x); err != nil && !errors.Is(err, ErrFormat) {
					t.Fatal(err)
				}
			}
		}
	})
}

// Words come back as they were, whatever they are.
func FuzzWords(f *testing.F) {
	f.Add([]byte("12345678"))
	f.Add(slices.Concat(make([]byte, 16), []byte("abcdefghabcdefgiabcdxxxx\x01\x00\x00\x00\x00\x00\x00\x00"), make([]byte, 300), []byte("abcdefgh")))
	f.Fuzz(func(t *testing.T, words []byte) {
		n := len(words) / wordBytes
		words = words[:n*wordBytes]
		coded := appendCoded(nil, words)
		out := make([]byte, len(words))
		if err := decodeWords(out, coded[:n], append(coded[n:], "whatever"...)); err != nil || !bytes.Equal(out, words) {
			t.Fatalf("%x: %x, %v", words, out, err)
		}
	})
}
