package nodefile

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

const goldenLoadingID = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

var goldenLoadingSet = LoadingSet{{40, 3}, {4, 1}, {1000, 20}, {43, 1}, {0, 1}, {2047, 1}}

// TestGoldenLoadingSet: a file of version 1 means the same for ever.
func TestGoldenLoadingSet(t *testing.T) {
	path := filepath.Join("..", "testdata", "loading-1.load")
	if os.Getenv("SEUSS_UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, EncodeLoadingSet(goldenLoadingID, 2048, goldenLoadingSet), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	set, err := DecodeLoadingSet(b, goldenLoadingID, 2048)
	if err != nil || !reflect.DeepEqual(set, goldenLoadingSet) {
		t.Errorf("got %v, %v", set, err)
	}
	for _, c := range []struct {
		change func([]byte) []byte
		want   error
	}{
		{func(b []byte) []byte { return nil }, ErrMagic},
		{func(b []byte) []byte { b[0] ^= 1; return b }, ErrMagic},
		{func(b []byte) []byte { b[8]++; return b }, ErrVersion},
		{func(b []byte) []byte { return b[:20] }, ErrLength},
		{func(b []byte) []byte { b[len(b)-1] ^= 1; return b }, ErrChecksum},
		{func(b []byte) []byte { return append(b, 0) }, ErrChecksum},
	} {
		if _, err := DecodeLoadingSet(c.change(append([]byte(nil), b...)), goldenLoadingID, 2048); !errors.Is(err, c.want) {
			t.Errorf("got %v, want %v", err, c.want)
		}
	}
	if _, err := DecodeLoadingSet(b, strings.Repeat("ab", 32), 2048); !errors.Is(err, ErrIdentity) {
		t.Error(err)
	}
	if _, err := DecodeLoadingSet(b, goldenLoadingID, 2047); !errors.Is(err, ErrFormat) {
		t.Error(err)
	}
}

// TestNewLoadingSet keeps the order and each page once.
func TestNewLoadingSet(t *testing.T) {
	set := NewLoadingSet([]uint64{5, 6, 7, 2, 6, 8, 3, 4})
	if want := (LoadingSet{{5, 3}, {2, 1}, {8, 1}, {3, 2}}); !reflect.DeepEqual(set, want) {
		t.Errorf("got %v, want %v", set, want)
	}
	if set.Len() != 7 || len(set.Pages()) != 7 {
		t.Errorf("%d pages, %v", set.Len(), set.Pages())
	}
}

// FuzzLoadingSet: whatever is decoded lies inside the node and is encoded again to
// the same bytes but for the form of its numbers.
func FuzzLoadingSet(f *testing.F) {
	f.Add(EncodeLoadingSet(goldenLoadingID, 2048, goldenLoadingSet)[loadingHeaderBytes:])
	f.Add(EncodeLoadingSet(goldenLoadingID, 2048, nil)[loadingHeaderBytes:])
	f.Fuzz(func(t *testing.T, body []byte) {
		b := append(EncodeLoadingSet(goldenLoadingID, 2048, nil)[:loadingHeaderBytes:loadingHeaderBytes], body...)
		putChecksum(b)
		set, err := DecodeLoadingSet(b, goldenLoadingID, 2048)
		if err != nil {
			return
		}
		for _, r := range set {
			if r.Count == 0 || r.First >= 2048 || r.Count > 2048-r.First {
				t.Fatalf("run %v", r)
			}
		}
		again, err := DecodeLoadingSet(EncodeLoadingSet(goldenLoadingID, 2048, set), goldenLoadingID, 2048)
		if err != nil || len(set) > 0 && !reflect.DeepEqual(again, set) {
			t.Fatalf("got %v, %v, want %v", again, err, set)
		}
	})
}

func putChecksum(b []byte) {
	sum := Checksum(b[loadingHeaderBytes:])
	b[12], b[13], b[14], b[15] = byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24)
}
