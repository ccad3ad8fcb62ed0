package region

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"

	"seuss/dispatcher/state"
)

// MaxPushed is the size of the largest region that can be pushed, in bytes: what names its
// chunks has to fit into one message of the engine's, which is 1 MiB.
const MaxPushed = 1 << 30

var nameOf = strings.NewReplacer("%", "%25", "/", "%2F")

// NameOf is the name of the region of a key, SHARE/NAME as of state.
func NameOf(key string) string { return nameOf.Replace(key) }

// kept are the digests of a region's chunks, as its marks saw them last.
type kept struct {
	marks   Marks
	digests []state.Digest
}

var zeros [ChunkBytes]byte

// chunk returns the digest and the content of one, valid until the next call. Only what has
// changed is digested.
func (k *kept) chunk(r *Region, n int) (state.Digest, []byte, error) {
	if k.digests == nil {
		k.digests = make([]state.Digest, chunksOf(r)) // of zeros, which marks begin with
	}
	content, changed, err := k.marks.Chunk(r, n)
	if err != nil {
		return state.Digest{}, nil, err
	}
	switch {
	case changed && string(content) == string(zeros[:len(content)]):
		k.digests[n] = state.Digest{}
	case changed:
		k.digests[n] = sha256.Sum256(content)
	}
	return k.digests[n], content, nil
}

func chunksOf(r *Region) int { return int((r.Bytes + ChunkBytes - 1) / ChunkBytes) }

// Push has the global tier keep the region of a session's key as the value of the key. Each
// chunk is as it is when it comes to it: guests may write meanwhile. Chunks that are kept
// already are not written again. When it returns without an error what it has kept survives
// kill -9 and a power cut.
func (h *Host) Push(ctx context.Context, s *state.Session, key string) (state.Meta, error) {
	r, owner, global, err := h.begin(ctx, s, key, state.Write)
	if err == nil {
		defer h.end(r)
		_, err = global.Push(ctx, owner, key, int64(r.Bytes), chunksOf(r), func(n int) (state.Digest, []byte, error) {
			if ctx.Err() != nil {
				return state.Digest{}, nil, context.Cause(ctx)
			}
			return r.kept.chunk(r, n)
		})
	}
	if err != nil {
		return state.Meta{}, fmt.Errorf("region %q: %w", key, err)
	}
	return state.Meta{Size: int64(r.Bytes)}, nil
}

// Pull makes the region of a session's key what was pushed of the key last, chunk by chunk,
// where guests see it: ended in between, some are. It writes those that differ, for which the
// session must be one that may.
func (h *Host) Pull(ctx context.Context, s *state.Session, key string) (state.Meta, error) {
	r, owner, global, err := h.begin(ctx, s, key, state.Read)
	if err == nil {
		defer h.end(r)
		err = r.pull(ctx, s, owner, key, global)
	}
	if err != nil {
		return state.Meta{}, fmt.Errorf("region %q: %w", key, err)
	}
	return state.Meta{Size: int64(r.Bytes)}, nil
}

// begin finds the region of a key, and waits for the turn to push or pull it. end follows.
func (h *Host) begin(ctx context.Context, s *state.Session, key string, need state.Right) (*Region, string, state.Global, error) {
	if err := s.Reach(key, need); err != nil {
		return nil, "", nil, err
	}
	owner, global, err := s.Global()
	if err != nil {
		return nil, "", nil, err
	}
	r, err := h.Get(ctx, owner, NameOf(key), 0)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil, "", nil, fmt.Errorf("open it with its size first: %w: %w", err, state.ErrNotFound)
	case err != nil:
		return nil, "", nil, err
	case r.Bytes > MaxPushed:
		h.Put(r)
		return nil, "", nil, fmt.Errorf("it has %d bytes, at most %d are kept: %w", r.Bytes, MaxPushed, state.ErrTooLarge)
	}
	select {
	case r.pushing <- struct{}{}:
		return r, owner, global, nil
	case <-ctx.Done():
		h.Put(r)
		return nil, "", nil, context.Cause(ctx)
	}
}

func (h *Host) end(r *Region) {
	<-r.pushing
	h.Put(r)
}

func (r *Region) pull(ctx context.Context, s *state.Session, owner, key string, global state.Global) error {
	m, err := global.Manifest(ctx, owner, key)
	if err != nil {
		return err
	}
	if m.Size != int64(r.Bytes) || len(m.Chunks) > chunksOf(r) {
		return fmt.Errorf("it has %d bytes, and %d were pushed: %w", r.Bytes, m.Size, state.ErrRange)
	}
	allowed := false
	for n := range chunksOf(r) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		var want state.Digest
		if n < len(m.Chunks) {
			want = m.Chunks[n]
		}
		has, content, err := r.kept.chunk(r, n)
		if err != nil {
			return err
		}
		if has == want {
			continue
		}
		if !allowed {
			if err := s.Reach(key, state.Write); err != nil {
				return err
			}
			allowed = true
		}
		var data []byte
		if want != (state.Digest{}) {
			if data, err = global.Chunk(ctx, owner, key, want); err != nil {
				return err
			}
		}
		clear(content[copy(content, data):])
		if _, err := r.WriteAt(content, int64(n)*ChunkBytes); err != nil {
			return err
		}
	}
	return nil
}
