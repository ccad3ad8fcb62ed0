package state

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
)

// Digest is the SHA-256 of a chunk.
type Digest [sha256.Size]byte

func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// Manifest is a value in the global tier: its chunks by digest, in order. A chunk that is all
// zeros is the zero Digest.
type Manifest struct {
	Size   int64
	Chunks []Digest
}

// Global is the tier in which state survives this process. Its methods may be called from any
// goroutine, and wait for the disk.
type Global interface {
	// Push makes what is kept of a key a value of so many bytes and chunks, once all of these
	// are kept. chunk is called once for each, in order; what it returns is valid until the
	// next call, and its error ends the push. It returns how many bytes of chunks were added.
	Push(ctx context.Context, owner, key string, size int64, chunks int, chunk func(n int) (Digest, []byte, error)) (added int64, err error)
	// Manifest returns what is kept of a key. The error matches ErrNotPushed if nothing is.
	Manifest(ctx context.Context, owner, key string) (Manifest, error)
	// Chunk returns the content of one, checked against its digest.
	Chunk(ctx context.Context, owner, key string, d Digest) ([]byte, error)
	// Forget drops what is kept of a key. The error matches ErrNotPushed if nothing is.
	Forget(ctx context.Context, owner, key string) error
	// Keys returns the keys of an owner that begin so and of which something is kept, in order.
	Keys(ctx context.Context, owner, prefix string) ([]string, error)
}

// Errors of the global tier.
var (
	// ErrNotPushed: the key was never pushed.
	ErrNotPushed = errors.New("nothing of it was pushed")
	// ErrNoGlobal: the service has no global tier.
	ErrNoGlobal = errors.New("there is no global tier here: a daemon (seussctl serve) has one")
)

// Global is who the session's owner is to the global tier, and that; ErrNoGlobal: there is none.
// It is for who keeps something else of a key than its value.
func (s *Session) Global() (owner string, g Global, err error) {
	if s.t.s.o.Global == nil {
		return "", nil, ErrNoGlobal
	}
	return s.who.Owner, s.t.s.o.Global, nil
}

// digest is the chunk's; zeros have the zero Digest.
func (c *chunk) digest() Digest {
	if c == nil {
		return Digest{}
	}
	if d := c.sum.Load(); d != nil {
		return *d
	}
	d := Digest(sha256.Sum256(c.data))
	c.sum.Store(&d)
	return d
}

// clipped is the chunk without the memory behind its bytes, which a later chunk of the key may
// have by the time it is a value's last one again.
func (c *chunk) clipped() *chunk {
	if c == nil || cap(c.data) == len(c.data) {
		return c
	}
	d := c.digest()
	clipped := &chunk{data: slices.Clip(c.data)}
	clipped.sum.Store(&d)
	return clipped
}

// Push has the global tier keep a value as it is now. Its chunks that are kept already are not
// written again. When it returns without an error the value survives kill -9 and a power cut.
// It returns what was pushed.
func (s *Session) Push(ctx context.Context, key string) (m Meta, err error) {
	defer func() { err = ofKey(key, err) }()
	if err := s.reach(key, Write); err != nil {
		return m, err
	}
	global := s.t.s.o.Global
	if global == nil {
		return m, ErrNoGlobal
	}
	e := s.entry(key)
	if e == nil {
		return m, ErrNotFound
	}
	added, err := global.Push(ctx, s.who.Owner, key, e.size, len(e.chunks), func(n int) (Digest, []byte, error) {
		if e.chunks[n] == nil {
			return Digest{}, nil, nil
		}
		return e.chunks[n].digest(), e.chunks[n].data, nil
	})
	if err != nil {
		return m, err
	}
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	s.t.stats.Pushes++
	s.t.stats.Pushed += uint64(added)
	return Meta{e.size, e.version}, nil
}

// Pull makes a key's value what was pushed last. Chunks that are the same here are not fetched.
// What was written here and not pushed is lost, so where there is a value that is another one the
// session must be one that may write.
func (s *Session) Pull(ctx context.Context, key string, c If) (m Meta, err error) {
	defer func() { err = ofKey(key, err) }()
	if err := s.reach(key, Read); err != nil {
		return m, err
	}
	global := s.t.s.o.Global
	if global == nil {
		return m, ErrNoGlobal
	}
	v, fetched, err := s.newest(ctx, key)
	if err != nil {
		return m, err
	}
	t := s.t
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.get(key)
	if s.ended {
		return m, ErrEnded
	}
	if err := c.check(t, key, old); err != nil {
		return m, err
	}
	t.stats.Pulls++
	t.stats.Pulled += uint64(fetched)
	if old != nil && same(&old.value, &v) {
		return Meta{old.size, old.version}, nil
	}
	if old != nil { // what others have written is not a reader's to throw away
		if err := s.reach(key, Write); err != nil {
			return m, err
		}
	}
	e, err := t.put(key, s.who.Function, old, v)
	if err != nil {
		return m, err
	}
	return Meta{e.size, e.version}, nil
}

// newest is the value that was pushed last. A push that comes in between takes away chunks of
// the one before, which is then not what is wanted any more.
func (s *Session) newest(ctx context.Context, key string) (v value, fetched int64, err error) {
	global := s.t.s.o.Global
	m, err := global.Manifest(ctx, s.who.Owner, key)
	for err == nil {
		if most := s.t.s.o.ValueBytes; m.Size > most || m.Size < 0 || int64(len(m.Chunks)) > (m.Size+ChunkBytes-1)/ChunkBytes {
			return v, 0, fmt.Errorf("%d bytes in %d chunks were pushed, a value has %d at most: %w", m.Size, len(m.Chunks), most, ErrTooLarge)
		}
		var failed error
		if v, fetched, failed = s.fetch(ctx, key, m); failed == nil {
			return v, fetched, nil
		}
		before := m
		if m, err = global.Manifest(ctx, s.who.Owner, key); err == nil && m.Size == before.Size && slices.Equal(m.Chunks, before.Chunks) {
			err = failed
		}
	}
	return v, 0, err
}

// Forget drops what was pushed of a key; its value stays.
func (s *Session) Forget(ctx context.Context, key string) error {
	err := s.reach(key, Write)
	if global := s.t.s.o.Global; err == nil && global == nil {
		err = ErrNoGlobal
	} else if err == nil {
		err = global.Forget(ctx, s.who.Owner, key)
	}
	return ofKey(key, err)
}

// Pushed is List of what was pushed, with the sizes that it has there, and no versions.
func (s *Session) Pushed(ctx context.Context, prefix, after string, limit int) (items []Item, more bool, err error) {
	if limit, err = s.listing(prefix, limit); err != nil {
		return nil, false, err
	}
	global := s.t.s.o.Global
	if global == nil {
		return nil, false, ErrNoGlobal
	}
	keys, err := global.Keys(ctx, s.who.Owner, prefix)
	if err != nil {
		return nil, false, ofKey(prefix, err)
	}
	items = []Item{}
	for _, key := range keys {
		if key <= after {
			continue
		}
		if len(items) == limit {
			return items, true, nil
		}
		m, err := global.Manifest(ctx, s.who.Owner, key)
		if errors.Is(err, ErrNotPushed) {
			continue // it was forgotten since
		}
		if err != nil {
			return nil, false, ofKey(key, err)
		}
		items = append(items, Item{Key: key, Meta: Meta{Size: m.Size}})
	}
	return items, false, nil
}

// fetch makes the value of a manifest, of chunks that are here and others.
func (s *Session) fetch(ctx context.Context, key string, m Manifest) (v value, fetched int64, err error) {
	have := map[Digest]*chunk{}
	if e := s.entry(key); e != nil {
		for _, c := range e.chunks {
			have[c.digest()] = c.clipped()
		}
	}
	v = value{size: m.Size, chunks: make([]*chunk, len(m.Chunks))}
	for n, d := range m.Chunks {
		c := have[d]
		if c == nil && d != (Digest{}) {
			data, err := s.t.s.o.Global.Chunk(ctx, s.who.Owner, key, d)
			if err != nil {
				return v, 0, err
			}
			c = &chunk{data: slices.Clip(data)}
			c.sum.Store(&d)
			have[d] = c
			fetched += int64(len(data))
		}
		v.chunks[n] = c
	}
	return v, fetched, nil
}

func same(a, b *value) bool {
	return a.size == b.size && slices.EqualFunc(a.chunks, b.chunks, func(x, y *chunk) bool { return x == y || x.digest() == y.digest() })
}
