package layer

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"seuss/guest"
	"seuss/images/internal/layertest"
)

func add(t testing.TB, s Store, o AddOptions, entries ...layertest.Entry) *Layer {
	t.Helper()
	h, err := s.Add(t.Context(), bytes.NewReader(layertest.Tar(t, entries...)), o)
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.Open(h.Digest)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func find(t testing.TB, l *Layer, path string) Entry {
	t.Helper()
	for e := range l.Entries() {
		if e.Path == path {
			return e
		}
	}
	t.Fatalf("no entry %q", path)
	return Entry{}
}

func content(t testing.TB, l *Layer, path string) []byte {
	t.Helper()
	b, err := io.ReadAll(find(t, l, path).File.Open())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func store(t testing.TB) Store { return Store{Dir: filepath.Join(t.TempDir(), DirName)} }

// TestAdd: what a stream says is what a layer says, small files and large ones in any
// order, and its content is as sealed.
func TestAdd(t *testing.T) {
	s := store(t)
	when := time.Unix(1700000000, 999)
	var entries []layertest.Entry
	sizes := []int{0, 1, 15, 16, 17, 4095, 4096, 4097, packBytes - 1, packBytes, 100_001, copyBytes, copyBytes + 1, 3*copyBytes + 5}
	for i, n := range append(slices.Clone(sizes), slices.Repeat([]int{packBytes - 1}, 70)...) {
		entries = append(entries, layertest.Entry{Name: fmt.Sprintf("d/f%03d", i), Data: layertest.Pattern(n, byte(i)), Mode: 0o4640, UID: 7, GID: 8, Time: when})
	}
	entries = append(entries,
		layertest.Entry{Name: "./s", Link: "/d/../d/f001", Type: tar.TypeSymlink},
		layertest.Entry{Name: "/h", Link: "d/f002", Type: tar.TypeLink},
		layertest.Entry{Name: "d/", Type: tar.TypeDir, Mode: 0o1750, Time: when},
		layertest.Entry{Name: "null", Type: tar.TypeChar},
		layertest.Entry{Name: "fifo", Type: tar.TypeFifo},
		layertest.Entry{Name: "a/.wh.gone"},
		layertest.Entry{Name: "a/b/.wh..wh..opq"},
		layertest.Entry{Name: ".wh..wh.plnk", Type: tar.TypeDir},
	)
	l := add(t, s, AddOptions{}, entries...)
	if err := l.Verify(t.Context()); err != nil {
		t.Error(err)
	}
	total := 0
	for i, e := range entries[:len(sizes)+70] {
		f := find(t, l, e.Name).File
		if got := content(t, l, e.Name); !bytes.Equal(got, e.Data) {
			t.Errorf("%s of %d bytes differs", e.Name, len(e.Data))
		}
		if uid, gid := f.Owner(); f.Mode() != ModeRegular|0o4640 || uid != 7 || gid != 8 || f.Mtime() != when.Unix() {
			t.Errorf("%d: mode %o, owner %d:%d, time %d", i, f.Mode(), uid, gid, f.Mtime())
		}
		if len(e.Data) >= packBytes && f.n.Off%guest.PageSize != 0 {
			t.Errorf("%s of %d bytes begins within a page", e.Name, len(e.Data))
		}
		total += len(e.Data)
	}
	if find(t, l, "h").File != find(t, l, "d/f002").File {
		t.Error("a hard link is a file of its own")
	}
	if f := find(t, l, "s").File; f.Target != "/d/../d/f001" {
		t.Errorf("link to %q", f.Target)
	}
	if e := find(t, l, "a/gone"); !e.Hides || e.File != nil {
		t.Errorf("whiteout is %+v", e)
	}
	if e := find(t, l, "a/b"); !e.Opaque || e.Hides {
		t.Errorf("opaque directory is %+v", e)
	}
	if d := find(t, l, "d").File; d.Mode() != ModeDir|0o1750 {
		t.Errorf("directory has mode %o", d.Mode())
	}
	h := l.Header()
	if h.Skipped != 2 || h.Unpacked != uint64(total) {
		t.Errorf("skipped %d, unpacked %d, want 2 and %d", h.Skipped, h.Unpacked, total)
	}
	if most := uint64(total)*105/100 + 1<<20; h.Total > most {
		t.Errorf("%d bytes for %d of content, want at most %d", h.Total, total, most)
	}
}

// TestLaterEntryReplaces: as tar unpacks it; other names of what is replaced keep it.
func TestLaterEntryReplaces(t *testing.T) {
	l := add(t, store(t), AddOptions{},
		layertest.Entry{Name: "a", Data: []byte("old")},
		layertest.Entry{Name: "b", Link: "a", Type: tar.TypeLink},
		layertest.Entry{Name: "c", Link: "b", Type: tar.TypeLink},
		layertest.Entry{Name: "a", Data: []byte("new")},
		layertest.Entry{Name: ".wh.a"},
	)
	if got := string(content(t, l, "a")) + string(content(t, l, "b")) + string(content(t, l, "c")); got != "newoldold" {
		t.Error(got)
	}
	if e := find(t, l, "a"); !e.Hides || e.File == nil {
		t.Errorf("%+v, want a file that hides what is below", e)
	}
	if find(t, l, "b").File != find(t, l, "c").File {
		t.Error("two files")
	}
}

// TestSameStreamSameLayer: equal streams give equal files, which are stored once and
// found by the stream's digest.
func TestSameStreamSameLayer(t *testing.T) {
	stream := layertest.Tar(t, layertest.Entry{Name: "x", Data: layertest.Pattern(200_000, 1)}, layertest.Entry{Name: "y", Data: []byte("z")})
	id := fmt.Sprintf("sha256:%x", sha256.Sum256(stream))
	var digests []Digest
	var bytesOf [][]byte
	for range 2 {
		s := store(t)
		if _, err := s.Find(id); !errors.Is(err, ErrNotFound) {
			t.Errorf("found in an empty store: %v", err)
		}
		for range 2 {
			h, err := s.Add(t.Context(), bytes.NewReader(stream), AddOptions{DiffID: id})
			if err != nil {
				t.Fatal(err)
			}
			digests = append(digests, h.Digest)
		}
		d, err := s.Find(id)
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, d)
		b, err := os.ReadFile(s.Path(d))
		if err != nil {
			t.Fatal(err)
		}
		bytesOf = append(bytesOf, b)
		names, err := filepath.Glob(filepath.Join(s.Dir, "*"))
		if err != nil || len(names) != 2 {
			t.Errorf("%v, %v, want a layer and a note", names, err)
		}
	}
	if len(slices.Compact(digests)) != 1 || !bytes.Equal(bytesOf[0], bytesOf[1]) {
		t.Errorf("layers differ: %v", digests)
	}
}

// TestHostileStreams: each is refused with its reason, and leaves nothing.
func TestHostileStreams(t *testing.T) {
	good := layertest.Tar(t, layertest.Entry{Name: "x", Data: layertest.Pattern(50_000, 1)})
	bad := bytes.Clone(good)
	bad[0] ^= 1 // of a name: its checksum is wrong
	deep := strings.Repeat("a/", 2047) + "a"
	for name, c := range map[string]struct {
		stream  []byte
		options AddOptions
		want    error
	}{
		"upwards":               {layertest.Tar(t, layertest.Entry{Name: "a/../../etc/passwd"}), AddOptions{}, ErrTar},
		"only upwards":          {layertest.Tar(t, layertest.Entry{Name: ".."}), AddOptions{}, ErrTar},
		"hard link upwards":     {layertest.Tar(t, layertest.Entry{Name: "a", Link: "../b", Type: tar.TypeLink}), AddOptions{}, ErrTar},
		"hard link to itself":   {layertest.Tar(t, layertest.Entry{Name: "a", Link: "a", Type: tar.TypeLink}), AddOptions{}, ErrTar},
		"hard link to root":     {layertest.Tar(t, layertest.Entry{Name: "a", Link: "/", Type: tar.TypeLink}), AddOptions{}, ErrTar},
		"hard link to a folder": {layertest.Tar(t, layertest.Entry{Name: "d", Type: tar.TypeDir}, layertest.Entry{Name: "a", Link: "d", Type: tar.TypeLink}), AddOptions{}, ErrTar},
		"root is a link":        {layertest.Tar(t, layertest.Entry{Name: "/", Link: "x", Type: tar.TypeSymlink}), AddOptions{}, ErrTar},
		"below a file":          {layertest.Tar(t, layertest.Entry{Name: "a/b"}, layertest.Entry{Name: "a"}), AddOptions{}, ErrTar},
		"long path":             {layertest.Tar(t, layertest.Entry{Name: deep + "/b"}), AddOptions{}, ErrTar},
		"long name":             {layertest.Tar(t, layertest.Entry{Name: strings.Repeat("n", 256)}), AddOptions{}, ErrTar},
		"long link":             {layertest.Tar(t, layertest.Entry{Name: "l", Link: strings.Repeat("n", 4096), Type: tar.TypeSymlink}), AddOptions{}, ErrTar},
		"whiteout of nothing":   {layertest.Tar(t, layertest.Entry{Name: "a/.wh."}), AddOptions{}, ErrTar},
		"whiteout upwards":      {layertest.Tar(t, layertest.Entry{Name: "a/.wh..."}), AddOptions{}, ErrTar},
		"truncated":             {good[:30_000], AddOptions{}, ErrTar},
		"damaged":               {bad, AddOptions{}, ErrTar},
		"not tar":               {layertest.Pattern(10_000, 3), AddOptions{}, ErrTar},
		"too large":             {good, AddOptions{MaxBytes: 49_999}, ErrTooLarge},
		"goes on":               {append(bytes.Clone(good), make([]byte, 5<<30>>10)...), AddOptions{MaxBytes: 50_000, DiffID: strings.Repeat("0", 64)}, ErrDiffID},
		"other digest":          {good, AddOptions{DiffID: "sha256:" + strings.Repeat("0", 64)}, ErrDiffID},
	} {
		t.Run(name, func(t *testing.T) {
			s := store(t)
			if _, err := s.Add(t.Context(), bytes.NewReader(c.stream), c.options); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			} else if strings.Contains(err.Error(), "\n") {
				t.Errorf("not one line: %v", err)
			}
			if left, _ := filepath.Glob(filepath.Join(s.Dir, "*")); len(left) > 0 {
				t.Errorf("left %v", left)
			}
			if left, _ := filepath.Glob(filepath.Join(s.Dir, ".*")); len(left) > 0 {
				t.Errorf("left %v", left)
			}
		})
	}
}

// endless is a tar stream of entries that never ends, or of one file that claims a size.
type endless struct {
	n    int
	size int64
	buf  bytes.Buffer
	name func(n int) string
}

func (e *endless) Read(p []byte) (int, error) {
	for e.buf.Len() == 0 {
		w := tar.NewWriter(&e.buf)
		h := &tar.Header{Name: e.name(e.n), Mode: 0o644, Typeflag: tar.TypeReg, Size: e.size}
		if err := w.WriteHeader(h); err != nil {
			return 0, err
		}
		e.n++
		if e.size > 0 {
			e.buf.Write(make([]byte, 1<<20))
		}
	}
	return e.buf.Read(p)
}

// TestBombs: a stream without end is left where its bound is.
func TestBombs(t *testing.T) {
	for name, stream := range map[string]*endless{
		"entries":       {name: func(n int) string { return fmt.Sprint("f", n) }},
		"the same name": {name: func(int) string { return "f" }},
		"one file":      {name: func(int) string { return "f" }, size: 1 << 40},
		"many files":    {name: func(int) string { return "f" }, size: 1 << 20},
		"whiteouts":     {name: func(n int) string { return fmt.Sprint(".wh.", n) }},
		"of AUFS":       {name: func(int) string { return ".wh..wh.x" }},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWriter(&memory{}, 8<<20)
			w.most = 1000
			if _, err := w.fromTar(t.Context(), stream); !errors.Is(err, ErrTooLarge) {
				t.Errorf("%v, want %v", err, ErrTooLarge)
			}
		})
	}
}

// TestStops: a cancelled context ends an Add whose stream never does.
func TestStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := store(t)
	stream := &endless{name: func(n int) string {
		if n == 1000 {
			cancel()
		}
		return fmt.Sprint("f", n)
	}}
	if _, err := s.Add(ctx, stream, AddOptions{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestDamage: one bit of a layer's file, wherever it is, is found.
func TestDamage(t *testing.T) {
	s := store(t)
	l := add(t, s, AddOptions{}, layertest.Entry{Name: "x", Data: layertest.Pattern(70_000, 1)}, layertest.Entry{Name: "y", Data: []byte("z")})
	path := s.Path(l.Digest())
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(good); at += 193 {
		if at >= headerBytes && at < guest.PageSize {
			continue // says nothing
		}
		bad := bytes.Clone(good)
		bad[at] ^= 1 << (at % 8)
		l, err := decode(bytes.NewReader(bad), uint64(len(bad)), true)
		if err == nil {
			err = l.Verify(t.Context())
		}
		if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrMagic) && !errors.Is(err, ErrVersion) && !errors.Is(err, ErrTruncated) {
			t.Fatalf("bit in byte %#x: %v", at, err)
		}
	}
	for _, n := range []int{0, 7, 100, guest.PageSize, len(good) - 1} {
		damaged := filepath.Join(t.TempDir(), "short")
		if err := os.WriteFile(damaged, good[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(damaged); !errors.Is(err, ErrTruncated) && !errors.Is(err, ErrMagic) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

// TestCollect: what is used stays, and what was just added or found.
func TestCollect(t *testing.T) {
	s := store(t)
	var all []Digest
	for i := range 3 {
		all = append(all, add(t, s, AddOptions{}, layertest.Entry{Name: "x", Data: []byte{byte(i)}}).Digest())
	}
	old := time.Now().Add(-2 * staleAge)
	for _, d := range all {
		if err := os.Chtimes(s.Path(d), old, old); err != nil {
			t.Fatal(err)
		}
	}
	h, err := s.Header(all[1])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Find(h.DiffID.String()); err != nil {
		t.Fatal(err)
	}
	gone, err := s.Collect(map[Digest]bool{all[0]: true}, 0)
	if err != nil || len(gone) != 1 || gone[0].Digest != all[2] {
		t.Errorf("removed %v, %v, want %v", gone, err, all[2])
	}
	if _, err := s.Open(all[2]); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if left, err := s.List(); err != nil || len(left) != 2 || left[0].Err != nil {
		t.Errorf("left %v, %v", left, err)
	}
	if gone, err = s.Collect(nil, time.Nanosecond); err != nil || len(gone) != 2 {
		t.Errorf("removed %v, %v", gone, err)
	}
}

// FuzzLayer: no file makes the reader fail other than by an error, and every file that it
// takes can be read.
func FuzzLayer(f *testing.F) {
	s := Store{Dir: f.TempDir()}
	l := add(f, s, AddOptions{}, layertest.Entry{Name: "d/x", Data: []byte("hello")}, layertest.Entry{Name: "h", Link: "d/x", Type: tar.TypeLink},
		layertest.Entry{Name: "l", Link: "q", Type: tar.TypeSymlink}, layertest.Entry{Name: "below", Link: "gone", Type: tar.TypeLink}, layertest.Entry{Name: ".wh.w"})
	seed, err := os.ReadFile(s.Path(l.Digest()))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add(seed[:200])
	f.Add(golden(f))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := decode(bytes.NewReader(b), uint64(len(b)), false)
		if err != nil {
			return
		}
		for e := range l.Entries() {
			if e.File != nil && e.File.LinkTo == "" && e.File.Mode()&ModeTypeMask == ModeRegular {
				if n, err := io.Copy(io.Discard, e.File.Open()); err != nil || n != e.File.Size() {
					t.Errorf("%q: %d of %d bytes, %v", e.Path, n, e.File.Size(), err)
				}
			}
		}
	})
}

// FuzzTar: no stream makes a layer that the reader refuses.
func FuzzTar(f *testing.F) {
	f.Add(layertest.Tar(f, layertest.Entry{Name: "d/x", Data: []byte("hello")}, layertest.Entry{Name: "h", Link: "d/x", Type: tar.TypeLink},
		layertest.Entry{Name: "l", Link: "q", Type: tar.TypeSymlink}, layertest.Entry{Name: ".wh.w"}, layertest.Entry{Name: "d/.wh..wh..opq"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		var out memory
		w := newWriter(&out, 1<<20)
		id, err := w.fromTar(t.Context(), bytes.NewReader(b))
		if err != nil {
			return
		}
		h, err := w.finish(t.Context(), id)
		if errors.Is(err, ErrTar) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decode(&out, h.Total, true); err != nil {
			t.Error(err)
		}
	})
}

// memory is a file in memory.
type memory struct{ b []byte }

func (m *memory) WriteAt(p []byte, off int64) (int, error) {
	if n := int(off) + len(p); n > len(m.b) {
		m.b = append(m.b, make([]byte, n-len(m.b))...)
	}
	return copy(m.b[off:], p), nil
}

func (m *memory) ReadAt(p []byte, off int64) (int, error) { return bytes.NewReader(m.b).ReadAt(p, off) }
