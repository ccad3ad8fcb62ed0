package held

import (
	"errors"
	"fmt"
	"testing"
)

func keys(n int, of string) (list []Key) {
	for i := range n {
		list = append(list, KeyOf(fmt.Sprint(of, i), "digest"))
	}
	return list
}

// TestFilter: all that were put in are found, few others are, and it is as small as it can be; one
// that has more than there is room for has the first ones.
func TestFilter(t *testing.T) {
	for _, n := range []int{0, 1, 100, MaxFunctions, MaxFunctions + 1000} {
		list := keys(n, "f")
		f, err := Decode(New(list).Encode())
		if err != nil {
			t.Fatal(err)
		}
		if got := len(f.Encode()); got > max(minBytes, n*bitsEach/8*2) || got > MaxBytes {
			t.Errorf("%d functions take %d bytes", n, got)
		}
		for i, k := range list[:min(n, MaxFunctions)] {
			if !f.Has(k) {
				t.Fatalf("of %d, %d is not found", n, i)
			}
		}
		wrong := 0
		for _, k := range keys(10_000, "other") {
			if f.Has(k) {
				wrong++
			}
		}
		if wrong > 300 {
			t.Errorf("of %d functions %d of 10,000 others are found", n, wrong)
		}
	}
	if f := New(keys(10, "f")); f.Has(KeyOf("f1", "other digest")) {
		t.Error("other code of a function is found")
	}
	if (Filter{}).Has(KeyOf("f", "")) {
		t.Error("nothing holds something")
	}
}

// TestWhatIsNoFilter is refused by its size.
func TestWhatIsNoFilter(t *testing.T) {
	for _, n := range []int{0, 1, minBytes - 1, minBytes + 8, MaxBytes + 1, MaxBytes * 2} {
		if _, err := Decode(make([]byte, n)); !errors.Is(err, ErrFilter) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

// FuzzDecode: what is read is written as it was.
func FuzzDecode(f *testing.F) {
	f.Add(New(keys(3, "f")).Encode())
	f.Add([]byte("x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, err := Decode(b); err == nil && string(got.Encode()) != string(b) {
			t.Error("it is written otherwise")
		}
	})
}
