package source

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"seuss/images"
	"seuss/images/layer"
)

// indexBench is a tree of files, and an index of it.
type indexBench struct {
	*testing.T
	o     Options
	files []images.File
}

func newIndexBench(t *testing.T) *indexBench {
	b := &indexBench{T: t, o: Options{Layers: layer.Store{Dir: filepath.Join(t.TempDir(), "layers")}}}
	dir := t.TempDir()
	for i := range 5 {
		p := filepath.Join(dir, fmt.Sprint(i))
		if err := os.WriteFile(p, []byte(strings.Repeat(fmt.Sprint(i), 100)), 0o644); err != nil {
			t.Fatal(err)
		}
		b.files = append(b.files, images.File{GuestPath: fmt.Sprintf("/f%d", i), HostPath: p, Mtime: 1, Mode: 0o644})
	}
	b.files = append(b.files, images.File{GuestPath: "/same", HostPath: b.files[0].HostPath, Mtime: 1, Mode: 0o644}, images.File{GuestPath: "/data", Data: []byte("x"), Mode: 0o600})
	return b
}

// digest looks at the tree at a time from now on, and returns how many files it read.
func (b *indexBench) digest(later time.Duration) (digest string, read int) {
	b.Helper()
	x := b.o.Index("dir:x")
	x.clock = func() time.Time { return time.Now().Add(later) }
	info, err := os.Stat(b.files[0].HostPath)
	if err != nil {
		b.Fatal(err)
	}
	s, _ := stampOf(info)
	x.local[s.Dev] = true // wherever temporary files lie
	digest, err = DigestFiles(b.files, x)
	if err != nil {
		b.Fatal(err)
	}
	if plain, err := DigestFiles(b.files, nil); err != nil || plain != digest {
		b.Errorf("with the index it is %s, without %s, %v", digest, plain, err)
	}
	return digest, x.hashed
}

// TestIndex: what has not changed is not read again, once it has not changed for so long
// that a change would be seen.
func TestIndex(t *testing.T) {
	b := newIndexBench(t)
	for i, want := range []int{6, 6} {
		if _, n := b.digest(0); n != want {
			t.Errorf("look %d at files of this moment: %d read, want %d", i, n, want)
		}
	}
	first, n := b.digest(time.Minute)
	if n != 6 {
		t.Errorf("%d files read, want 6", n)
	}
	for range 2 {
		if again, n := b.digest(time.Minute); n != 0 || again != first {
			t.Errorf("%d files read of a tree that is as it was; %s, was %s", n, again, first)
		}
	}
	// Of the same length, and the time of modification that it had.
	file := b.files[2].HostPath
	info, err := os.Stat(file)
	if err == nil {
		err = errors.Join(os.WriteFile(file, bytes.Repeat([]byte("9"), 100), 0o644), os.Chtimes(file, info.ModTime(), info.ModTime()))
	}
	if err != nil {
		t.Fatal(err)
	}
	changed, n := b.digest(0)
	if n != 1 || changed == first {
		t.Errorf("%d files read, want the one that changed", n)
	}
	// It is too new to be known, and nothing else is forgotten.
	if _, n := b.digest(time.Minute); n != 1 {
		t.Errorf("%d files read, want the one that changed a moment ago", n)
	}
	// One that takes another's place has another inode.
	if err := errors.Join(os.WriteFile(file+"new", bytes.Repeat([]byte("8"), 100), 0o644), os.Rename(file+"new", file)); err != nil {
		t.Fatal(err)
	}
	if third, n := b.digest(time.Minute); n != 1 || third == changed {
		t.Errorf("%d files read, want the one that was replaced", n)
	}
	b.files = b.files[1:]
	if _, n := b.digest(time.Minute); n != 0 {
		t.Errorf("%d files read of a tree with one less", n)
	}
}

// TestIndexRacy: files that are changed as fast as can be, of equal length and with equal
// times of modification, are never taken for what they were.
func TestIndexRacy(t *testing.T) {
	b := newIndexBench(t)
	when := time.Unix(1_700_000_000, 0)
	seen := map[string]int{}
	for i := range 500 {
		file := b.files[i%5].HostPath
		if err := errors.Join(os.WriteFile(file, fmt.Appendf(nil, "%08d", i), 0o644), os.Chtimes(file, when, when)); err != nil {
			t.Fatal(err)
		}
		digest, _ := b.digest(0)
		if was, ok := seen[digest]; ok {
			t.Fatalf("change %d gives the digest of change %d", i, was)
		}
		seen[digest] = i
	}
}

// TestIndexDamaged: an index that is damaged, or none, is as good as none.
func TestIndexDamaged(t *testing.T) {
	b := newIndexBench(t)
	want, _ := b.digest(time.Minute)
	path := b.o.Index("dir:x").path
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := range good {
		bad := bytes.Clone(good)
		bad[at] ^= 1
		if decodeIndex(bad) != nil || decodeIndex(good[:at]) != nil {
			t.Fatalf("damage at %d is not seen", at)
		}
	}
	if err := os.WriteFile(path, good[:len(good)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	if got, n := b.digest(time.Minute); got != want || n != 6 {
		t.Errorf("%s after %d files, want %s", got, n, want)
	}
	// Where it cannot be kept, the tree is read.
	b.o.Layers.Dir = filepath.Join(b.files[0].HostPath, "layers")
	if got, n := b.digest(time.Minute); got != want || n != 6 {
		t.Errorf("%s after %d files, want %s", got, n, want)
	}
}

func FuzzIndex(f *testing.F) {
	f.Add([]byte(indexMagic))
	f.Add(encodeIndex(map[stamp][sha256.Size]byte{{1, 2, 3, 4, 5}: {6}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		known := decodeIndex(b)
		if known == nil {
			return
		}
		if again := decodeIndex(encodeIndex(known)); len(again) != len(known) {
			t.Errorf("%d records, then %d", len(known), len(again))
		}
	})
}
