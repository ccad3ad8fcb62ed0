package state

import (
	"bytes"
	"context"
	"errors"
	"testing"
)

// fakeGlobal keeps one value in memory.
type fakeGlobal struct {
	m        Manifest
	chunks   map[Digest][]byte
	gone     error  // of chunks that are not there
	fetching func() // is called before a chunk is given
}

func (g *fakeGlobal) Push(_ context.Context, _, _ string, size int64, chunks int, chunk func(n int) (Digest, []byte, error)) (added int64, err error) {
	g.m, g.chunks = Manifest{Size: size, Chunks: make([]Digest, chunks)}, map[Digest][]byte{}
	for n := range chunks {
		d, data, err := chunk(n)
		if err != nil {
			return 0, err
		}
		g.m.Chunks[n], g.chunks[d] = d, bytes.Clone(data)
	}
	return 0, nil
}

func (g *fakeGlobal) Manifest(context.Context, string, string) (Manifest, error) { return g.m, nil }

func (g *fakeGlobal) Chunk(_ context.Context, _, _ string, d Digest) ([]byte, error) {
	if g.fetching != nil {
		g.fetching()
	}
	if g.chunks[d] == nil {
		return nil, g.gone
	}
	return g.chunks[d], nil
}

func (g *fakeGlobal) Forget(context.Context, string, string) error { return nil }

func (g *fakeGlobal) Keys(context.Context, string, string) ([]string, error) { return nil, nil }

// TestPulledChunksAreNobodyElses: an append to a value that was pulled leaves what was appended
// to it meanwhile as its readers have it.
func TestPulledChunksAreNobodyElses(t *testing.T) {
	global := &fakeGlobal{}
	s := New(Options{Global: global})
	defer s.Close()
	f := open(t, s, "f", "a:rw")
	must(f.Set("a/k", bytes.Repeat([]byte("x"), ChunkBytes), If{}))(t)
	must(f.Append("a/k", []byte("0123456789"), If{}))(t)
	must(f.Append("a/k", []byte("a"), If{}))(t) // it has memory behind its bytes now
	must(f.Push(t.Context(), "a/k"))(t)
	must(f.SetRange("a/k", 0, []byte("y"), If{}))(t)

	var reader *entry
	global.fetching = func() { // when it is known that the last chunk is here
		must(f.Append("a/k", []byte("bc"), If{}))(t)
		reader = f.entry("a/k")
	}
	must(f.Pull(t.Context(), "a/k", If{}))(t)
	must(f.Append("a/k", []byte("DE"), If{}))(t)
	if got := string(reader.read(ChunkBytes, 100)); got != "0123456789abc" {
		t.Errorf("a reader has %q", got)
	}
	p, _, err := f.Get("a/k", ChunkBytes, -1)
	if got := string(p); err != nil || got != "0123456789aDE" {
		t.Errorf("%q, %v", got, err)
	}
}

// TestPushBetween: a push that takes away what is being pulled is no damage: what it has pushed
// is pulled. A chunk that is gone otherwise is.
func TestPushBetween(t *testing.T) {
	global := &fakeGlobal{gone: errors.New("gone")}
	s := New(Options{Global: global})
	defer s.Close()
	f := open(t, s, "f", "a:rw")
	must(f.Set("a/k", []byte("one"), If{}))(t)
	must(f.Push(t.Context(), "a/k"))(t)
	global.fetching = func() {
		global.fetching = nil
		must(f.Set("a/k", []byte("another"), If{}))(t)
		must(f.Push(t.Context(), "a/k"))(t)
	}
	if err := f.Delete("a/k", If{}); err != nil {
		t.Fatal(err)
	}
	must(f.Pull(t.Context(), "a/k", If{}))(t)
	if p, _, err := f.Get("a/k", 0, -1); err != nil || string(p) != "another" {
		t.Errorf("%q, %v", p, err)
	}
	if err := f.Delete("a/k", If{}); err != nil {
		t.Fatal(err)
	}
	clear(global.chunks)
	if _, err := f.Pull(t.Context(), "a/k", If{}); !errors.Is(err, global.gone) {
		t.Error(err)
	}
}
