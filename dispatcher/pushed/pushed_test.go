package pushed

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"seuss/dispatcher/engine"
	"seuss/dispatcher/state"
)

// open opens a store on a directory, as a daemon does.
func open(t testing.TB, dir string) (*state.Session, *engine.Engine) {
	t.Helper()
	e := engine.New(dir, slog.New(slog.DiscardHandler))
	s := state.New(state.Options{Host: "ada", Global: New(e, 0, "ada")})
	session, err := s.Open(state.Who{Owner: "ada", All: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(); e.Close() })
	return session, e
}

// content is the n-th value of the tests: three chunks, of which one changes with each.
func content(n int) []byte {
	p := make([]byte, 2*state.ChunkBytes+100)
	rand.New(rand.NewSource(1)).Read(p)
	copy(p[state.ChunkBytes:], fmt.Sprintf("%d;", n))
	return p
}

func TestPushPull(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "engine")
	s, e := open(t, dir)
	if _, err := s.Pull(t.Context(), "a/k", state.If{}); !errors.Is(err, state.ErrNotPushed) || e.Kept() {
		t.Fatalf("%v; the engine was started: %v", err, e.Kept())
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began := time.Now()
	if _, err := e.JetStream(t.Context()); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	runtime.ReadMemStats(&after)
	t.Logf("the engine starts in %v and takes %d KiB of heap", took, int64(after.HeapAlloc-before.HeapAlloc)>>10)
	write := func(p []byte) {
		t.Helper()
		if _, err := s.Set("a/k", p, state.If{}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Push(t.Context(), "a/k"); err != nil {
			t.Fatal(err)
		}
	}
	write(content(0))
	if _, err := s.SetRange("a/k", state.ChunkBytes, []byte("1;"), state.If{}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Push(t.Context(), "a/k"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.SetRange("a/far", 10*state.ChunkBytes, []byte("far"), state.If{}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Push(t.Context(), "a/far"); err != nil {
		t.Fatal(err)
	}
	e.Close()

	s, e = open(t, dir)
	if _, err := s.Pull(t.Context(), "a/k", state.If{}); err != nil {
		t.Fatal(err)
	}
	if p, _, err := s.Get("a/k", 0, -1); err != nil || !bytes.Equal(p, content(1)) {
		t.Errorf("%d bytes, %v", len(p), err)
	}
	if _, err := s.Pull(t.Context(), "a/far", state.If{}); err != nil {
		t.Fatal(err)
	}
	if p, m, err := s.Get("a/far", 10*state.ChunkBytes-2, 10); err != nil || string(p) != "\x00\x00far" || m.Size != 10*state.ChunkBytes+3 {
		t.Errorf("%q, %v, %v", p, m, err)
	}
	// What was written and not pushed is replaced, by the chunks that differ.
	if _, err := s.SetRange("a/k", 0, []byte("not pushed"), state.If{}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Pull(t.Context(), "a/k", state.If{}); err != nil {
		t.Fatal(err)
	}
	if p, _, err := s.Get("a/k", 0, -1); err != nil || !bytes.Equal(p, content(1)) {
		t.Errorf("%d bytes, %v", len(p), err)
	}
	// Chunks that no manifest names are gone.
	tier := New(e, 0, "ada")
	_, stream, err := tier.stream(t.Context(), "ada", false)
	if err != nil {
		t.Fatal(err)
	}
	if have, err := tier.have(t.Context(), stream, place{"ada", "a/k"}); err != nil || len(have) != 3 {
		t.Errorf("%d chunks, %v", len(have), err)
	}
	if items, more, err := s.Pushed(t.Context(), "a/", "", 1); err != nil || !more || len(items) != 1 || items[0].Key != "a/far" || items[0].Size != 10*state.ChunkBytes+3 {
		t.Errorf("%v, more %v, %v", items, more, err)
	}
	if err := s.Forget(t.Context(), "a/k"); err != nil {
		t.Fatal(err)
	}
	if err := s.Forget(t.Context(), "a/k"); !errors.Is(err, state.ErrNotPushed) {
		t.Error(err)
	}
	if have, err := tier.have(t.Context(), stream, place{"ada", "a/k"}); err != nil || len(have) != 0 {
		t.Errorf("%d chunks of what was forgotten, %v", len(have), err)
	}
	if items, more, err := s.Pushed(t.Context(), "", "", 0); err != nil || more || len(items) != 1 {
		t.Errorf("%v, more %v, %v", items, more, err)
	}
	if _, err := s.Pull(t.Context(), "a/k", state.If{}); !errors.Is(err, state.ErrNotPushed) {
		t.Error(err)
	}
	if _, err := s.Pull(t.Context(), "a/far", state.If{}); err != nil {
		t.Error(err)
	}
}

// TestBounds: what is pushed is bounded for an owner and for all, what is pushed again and
// what takes its place is not counted twice, and what is forgotten makes room.
func TestBounds(t *testing.T) {
	e := engine.New(filepath.Join(t.TempDir(), "engine"), slog.New(slog.DiscardHandler))
	defer e.Close()
	s := state.New(state.Options{Host: "ada", Global: New(e, 1<<20, "ada")})
	defer s.Close()
	sessions := map[string]*state.Session{}
	push := func(owner, key string, kib int) error {
		if sessions[owner] == nil {
			var err error
			if sessions[owner], err = s.Open(state.Who{Owner: owner, All: true}); err != nil {
				t.Fatal(err)
			}
		}
		p := make([]byte, kib<<10)
		rand.New(rand.NewSource(int64(kib))).Read(p)
		if _, err := sessions[owner].Set(key, p, state.If{}); err != nil {
			t.Fatal(err)
		}
		_, err := sessions[owner].Push(t.Context(), key)
		return err
	}
	for _, c := range []struct {
		owner, key string
		kib        int
		why        string
	}{
		{"bob", "a/0", 700, ""},
		{"bob", "a/0", 700, ""},
		{"bob", "a/1", 100, "what its owner has pushed takes"},
		{"ada", "a/0", 200, ""},
		{"ada", "a/1", 300, "what was pushed takes"},
		{"bob", "a/2", 8, ""},
	} {
		err := push(c.owner, c.key, c.kib)
		if (err != nil) != (c.why != "") || err != nil && (!errors.Is(err, state.ErrFull) || !strings.Contains(err.Error(), c.why)) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if err := sessions["bob"].Forget(t.Context(), "a/0"); err != nil {
		t.Fatal(err)
	}
	if err := push("ada", "a/1", 300); err != nil {
		t.Error(err)
	}
}

// TestKilled: what was pushed is there after kill -9, and nothing half.
func TestKilled(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "engine")
	if dir := os.Getenv("SEUSS_TEST_PUSHER"); dir != "" {
		push(t, dir)
		return
	}
	acknowledged := -1
	for round := range 3 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilled$")
		cmd.Env = append(os.Environ(), "SEUSS_TEST_PUSHER="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); {
			number, ok := strings.CutPrefix(lines.Text(), "pushed ")
			if !ok {
				continue
			}
			if acknowledged, err = strconv.Atoi(number); err != nil {
				t.Fatal(err)
			}
			if n++; n == 5+3*round {
				break
			}
		}
		_ = cmd.Process.Kill()
		for lines.Scan() { // what it has said before it died
			if number, ok := strings.CutPrefix(lines.Text(), "pushed "); ok {
				acknowledged, _ = strconv.Atoi(number)
			}
		}
		_ = cmd.Wait()
		s, e := open(t, dir)
		if _, err := s.Pull(t.Context(), "a/k", state.If{}); err != nil {
			t.Fatal(err)
		}
		p, _, err := s.Get("a/k", 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		number, _, _ := bytes.Cut(p[state.ChunkBytes:], []byte(";"))
		n, err := strconv.Atoi(string(number))
		if err != nil || n < acknowledged || n > acknowledged+1 || !bytes.Equal(p, content(n)) {
			t.Fatalf("%d was acknowledged, %d is there (%v)", acknowledged, n, err)
		}
		e.Close()
	}
}

// push pushes one value after the other until it is killed.
func push(t *testing.T, dir string) {
	s, _ := open(t, dir)
	first := 0
	if _, err := s.Pull(t.Context(), "a/k", state.If{}); err == nil {
		p, _, err := s.Get("a/k", state.ChunkBytes, 20)
		if err != nil {
			t.Fatal(err)
		}
		number, _, _ := bytes.Cut(p, []byte(";"))
		if first, err = strconv.Atoi(string(number)); err != nil {
			t.Fatal(err)
		}
	}
	for n := first + 1; ; n++ {
		if _, err := s.Set("a/k", content(n), state.If{}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Push(context.Background(), "a/k"); err != nil {
			t.Fatal(err)
		}
		fmt.Printf("pushed %d\n", n)
	}
}

// TestDamaged: a chunk that is gone, and a manifest that is another, are named.
func TestDamaged(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "engine")
	s, e := open(t, dir)
	for _, key := range []string{"a/chunk", "a/manifest"} {
		if _, err := s.Set(key, content(0), state.If{}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Push(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	js, err := e.JetStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	tier := New(e, 0, "ada")
	m, err := tier.Manifest(t.Context(), "ada", "a/chunk")
	if err != nil {
		t.Fatal(err)
	}
	if err := publish(t.Context(), js, place{"ada", "a/chunk"}.chunks()+m.Chunks[1].String(), []byte("other")); err != nil {
		t.Fatal(err)
	}
	if err := publish(t.Context(), js, place{"ada", "a/manifest"}.manifest(), encode("a/other", m)); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"a/chunk", "a/manifest"} {
		if err := s.Delete(key, state.If{}); err != nil {
			t.Fatal(err)
		}
		_, err := s.Pull(t.Context(), key, state.If{})
		if !errors.Is(err, engine.ErrDamaged) || !strings.Contains(err.Error(), key) {
			t.Errorf("%s: %v", key, err)
		}
	}
	e.Close()
	if _, err := s.Push(t.Context(), "a/chunk"); !errors.Is(err, state.ErrNotFound) {
		t.Error(err)
	}
}

func FuzzManifest(f *testing.F) {
	f.Add([]byte("a/k"), int64(5), []byte("x"))
	f.Fuzz(func(t *testing.T, key []byte, size int64, other []byte) {
		if len(key) > 600 {
			return
		}
		b := encode(string(key), state.Manifest{Size: size, Chunks: []state.Digest{{1}, {2}}})
		if m, err := decode(string(key), b); err != nil || m.Size != size || len(m.Chunks) != 2 {
			t.Fatal(m, err)
		}
		_, _ = decode(string(key), other)
		if len(other) > 0 {
			b[int(other[0])%len(b)] ^= 1
			if _, err := decode(string(key), b); err == nil {
				t.Error("a flipped bit is taken")
			}
		}
	})
}
