package nodefile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"slices"
	"testing"

	"seuss/guest"

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
			Reseal(b)
		}
		info, x, err := decodeAll(b)
		if err != nil {
			return
		}
		if err := info.Validate(); err != nil {
			t.Fatalf("accepted metadata is invalid: %v", err)
		}
		if again, err := DecodeIndex(x.Encode()); err != nil || len(again.Runs) != len(x.Runs) {
			t.Fatalf("an accepted index is refused when written again: %v", err)
		}
	})
}

func FuzzIndex(f *testing.F) {
	f.Add((&Index{}).Encode())
	f.Add((&Index{GuestPages: 100, DataPages: 65, Runs: []IndexRun{{1, 2, 3}, {3, 1, ZeroRun}}, Sums: make([]uint32, 65)}).Encode())
	f.Add((&Index{GuestPages: 9, DataPages: 1, Runs: []IndexRun{{1, 1, 0}}, Sums: []uint32{5}, Digests: make([]Digest, 1)}).Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := DecodeIndex(b)
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatalf("not ErrFormat: %v", err)
			}
			return
		}
		if !bytes.Equal(x.Encode(), b) {
			t.Fatal("two encodings of one index")
		}
		_ = x.GuestRuns(0, x.DataPages)
	})
}

// FuzzDifferences decodes hostile differences of two pages that are packed well.
func FuzzDifferences(f *testing.F) {
	var e DifferenceEncoder
	e.AddState([]byte("old state"), []byte("new state, longer"))
	one, two := testPage(1), testPage(2)
	e.Add(guest.ZeroPage[:], one)
	e.Add(one, two)
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
	x := &Index{GuestPages: 2, DataPages: 2, Runs: []IndexRun{{0, 2, 0}}, Sums: make([]uint32, 2)}
	f.Fuzz(func(t *testing.T, raw []byte, state, words uint32) {
		runs := zstdEncoder.EncodeAll(raw, binary.LittleEndian.AppendUint32(nil, uint32(len(raw))))
		for _, data := range [][]byte{packDifferences(raw, state, words), runs, raw} { // the last not packed at all
			for _, version := range []uint32{VersionPages, VersionDifferences} {
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
