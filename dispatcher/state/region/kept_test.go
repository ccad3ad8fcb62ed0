package region

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"strings"
	"sync"
	"testing"

	"seuss/dispatcher/state"
)

// keeper is a global tier in memory.
type keeper struct {
	t      *testing.T
	m      map[string]state.Manifest
	chunks map[state.Digest][]byte
}

func (k *keeper) Push(_ context.Context, owner, key string, size int64, chunks int, chunk func(n int) (state.Digest, []byte, error)) (added int64, err error) {
	m := state.Manifest{Size: size}
	for n := range chunks {
		d, data, err := chunk(n)
		if err != nil {
			return 0, err
		}
		if d != (state.Digest{}) && sha256.Sum256(data) != d || d == (state.Digest{}) && len(bytes.Trim(data, "\x00")) > 0 {
			k.t.Errorf("chunk %d is not what its digest says", n)
		}
		if m.Chunks = append(m.Chunks, d); d != (state.Digest{}) && k.chunks[d] == nil {
			k.chunks[d] = bytes.Clone(data)
			added++
		}
	}
	k.m[owner+" "+key] = m
	return added, nil
}

func (k *keeper) Manifest(_ context.Context, owner, key string) (state.Manifest, error) {
	m, ok := k.m[owner+" "+key]
	if !ok {
		return m, state.ErrNotPushed
	}
	return m, nil
}

func (k *keeper) Chunk(_ context.Context, _, _ string, d state.Digest) ([]byte, error) {
	return k.chunks[d], nil
}
func (k *keeper) Forget(context.Context, string, string) error { return nil }

// TestPushedBounds: what is too large to be pushed is refused, and who waits for a region's memory
// does so while he is there.
func TestPushedBounds(t *testing.T) {
	all := Limit{4 << 30, 5}
	h := New(Options{all, all, all})
	defer h.Close()
	r, err := h.find("ada", "", "orders%2Fx", MaxPushed+1, false)
	if err != nil {
		t.Fatal(err)
	}
	store := state.New(state.Options{Global: &keeper{t: t}})
	defer store.Close()
	s, err := store.Open(state.Who{Owner: "ada", All: true})
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.Push(ended, s, "orders/x"); !errors.Is(err, context.Canceled) || r.filled > fillUnit {
		t.Errorf("%v, %d bytes are there", err, r.filled)
	}
	r.filled = r.Bytes
	if _, err := h.Push(t.Context(), s, "orders/x"); !errors.Is(err, state.ErrTooLarge) {
		t.Errorf("%d bytes are pushed: %v", r.Bytes, err)
	}
	if r.users != 0 {
		t.Errorf("%d have it yet", r.users)
	}
}

// TestPushed: a push keeps what a region holds, chunks that are kept are not written again, and
// a pull writes those that differ, if the function may.
func TestPushed(t *testing.T) {
	const size = 10*ChunkBytes + 5000
	k := &keeper{t: t, m: map[string]state.Manifest{}, chunks: map[state.Digest][]byte{}}
	store := state.New(state.Options{Global: k})
	defer store.Close()
	session := func(in *state.Store, rights ...string) *state.Session {
		t.Helper()
		r, err := state.ParseRights(rights)
		if err != nil {
			t.Fatal(err)
		}
		s, err := in.Open(state.Who{Owner: "ada", Function: "f", Rights: r})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	h := New(Options{})
	defer h.Close()
	s, reader := session(store, "orders:rw"), session(store, "orders:r")
	if _, err := h.Push(t.Context(), s, "orders/a%b/c"); !errors.Is(err, state.ErrNotFound) {
		t.Errorf("a region that there is not: %v", err)
	}
	r, err := h.Get(t.Context(), "ada", "orders%2Fa%25b%2Fc", size)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Put(r)
	write := func(at int64, text string) {
		t.Helper()
		if _, err := r.WriteAt([]byte(text), at); err != nil {
			t.Fatal(err)
		}
	}
	holds := func(at int64, want string) {
		t.Helper()
		p := make([]byte, len(want))
		if _, err := r.ReadAt(p, at); err != nil || string(p) != want {
			t.Errorf("%q at %d (%v), want %q", p, at, err, want)
		}
	}
	push := func(chunks int) {
		t.Helper()
		before := len(k.chunks)
		m, err := h.Push(t.Context(), s, "orders/a%b/c")
		if err != nil || m.Size != size || len(k.chunks)-before != chunks {
			t.Errorf("push: %+v, %v, %d chunks are new, want %d", m, err, len(k.chunks)-before, chunks)
		}
	}
	pull := func(s *state.Session) error { _, err := h.Pull(t.Context(), s, "orders/a%b/c"); return err }
	if err := pull(s); !errors.Is(err, state.ErrNotPushed) {
		t.Errorf("what was never pushed: %v", err)
	}
	write(5, "first")
	write(size-3, "end")
	push(2)
	write(3*ChunkBytes, "third")
	write(5, "\x00\x00\x00\x00\x00")
	push(1)
	push(0)
	if err := pull(reader); err != nil {
		t.Errorf("a reader pulls what is there: %v", err)
	}
	write(7*ChunkBytes+1, "lost")
	write(3*ChunkBytes, "lost!")
	if err := pull(reader); !errors.Is(err, state.ErrForbidden) {
		t.Errorf("a reader overwrites: %v", err)
	}
	if err := pull(s); err != nil {
		t.Error(err)
	}
	holds(3*ChunkBytes, "third")
	holds(7*ChunkBytes+1, "\x00\x00\x00\x00")
	holds(size-3, "end")
	holds(5, "\x00\x00\x00\x00\x00")

	var all sync.WaitGroup // a guest that writes meanwhile: keeper looks at what comes
	over := make(chan struct{})
	all.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-over:
				return
			default:
				_, _ = r.WriteAt([]byte{byte(n), byte(n >> 8)}, int64(n%11)*ChunkBytes)
			}
		}
	})
	for range 20 {
		if _, err := h.Push(t.Context(), s, "orders/a%b/c"); err != nil {
			t.Error(err)
		}
	}
	close(over)
	all.Wait()

	k.m["ada orders/a%b/c"] = state.Manifest{Size: 1}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	r.pushing <- struct{}{} // another one pushes, and does not come to an end
	_, waits := h.Push(ended, s, "orders/a%b/c")
	<-r.pushing
	_, forbidden := h.Push(t.Context(), reader, "orders/a%b/c")
	_, alone := h.Push(t.Context(), session(state.New(state.Options{}), "orders:rw"), "orders/a%b/c")
	_, odd := h.Push(t.Context(), s, "orders")
	for _, c := range []struct{ err, want error }{{pull(s), state.ErrRange}, {waits, context.Canceled}, {forbidden, state.ErrForbidden}, {alone, state.ErrNoGlobal}, {odd, state.ErrKey}} {
		if !errors.Is(c.err, c.want) || !strings.HasPrefix(c.err.Error(), `region "orders`) {
			t.Errorf("%v, want %v", c.err, c.want)
		}
	}
}

func (k *keeper) Keys(context.Context, string, string) ([]string, error) { return nil, nil }
