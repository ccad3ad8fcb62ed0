// Package pushed is the global tier of state: what was pushed, in the engine.
//
// One stream has all of it: a message for the manifest of a key, and one for each chunk, whose
// subject has the key and the chunk's digest, so that a chunk that is there is not written
// again, and one key's are nobody else's. (The engine's object store takes two messages, each
// synced, for what fits into one.) A push writes the chunks that are missing, then the manifest,
// which takes the place of the one before, then removes the chunks that it does not name. Ended
// anywhere, the key is what it was before or after.
//
// Units: bytes. Locks: none; pushes of a key go one after the other (Tier.turns).
package pushed

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"seuss/dispatcher/engine"
	"seuss/dispatcher/state"
)

const (
	streamName = "STATE"
	subjects   = "state"
)

// opTimeout bounds one message to the engine.
const opTimeout = 30 * time.Second

// Tier is the global tier in an engine.
type Tier struct {
	e     *engine.Engine
	turns [64]chan struct{} // by key: who has it pushes
}

var _ state.Global = (*Tier)(nil)

// New makes the tier of an engine, which it does not own.
func New(e *engine.Engine) *Tier {
	t := &Tier{e: e}
	for n := range t.turns {
		t.turns[n] = make(chan struct{}, 1)
	}
	return t
}

// stream returns the stream; make: it is made where it is not there, else that is
// state.ErrNotPushed.
func (t *Tier) stream(ctx context.Context, make bool) (jetstream.JetStream, jetstream.Stream, error) {
	if !make && !t.e.Kept() {
		return nil, nil, state.ErrNotPushed
	}
	js, err := t.e.JetStream()
	if err != nil {
		return nil, nil, err
	}
	s, err := js.Stream(ctx, streamName)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if !make {
			return nil, nil, state.ErrNotPushed
		}
		s, err = js.CreateStream(ctx, jetstream.StreamConfig{
			Name: streamName, Subjects: []string{subjects + ".>"}, Storage: jetstream.FileStorage,
			MaxMsgsPerSubject: 1, Discard: jetstream.DiscardOld, AllowDirect: true,
		})
	}
	return js, s, engine.Error(err)
}

// place is where a key's messages are.
type place struct{ owner, key string }

func placeOf(owner, key string) place {
	sum := sha256.Sum256([]byte(key))
	return place{owner, hex.EncodeToString(sum[:16])}
}

func (p place) manifest() string { return subjects + ".m." + p.owner + "." + p.key }
func (p place) chunks() string   { return subjects + ".c." + p.owner + "." + p.key + "." }

// Push implements state.Global.
func (t *Tier) Push(ctx context.Context, owner, key string, size int64, chunks int, chunk func(n int) (state.Digest, []byte, error)) (added int64, err error) {
	p := placeOf(owner, key)
	h := fnv.New32a()
	h.Write([]byte(p.owner + p.key))
	turn := t.turns[h.Sum32()%uint32(len(t.turns))]
	select {
	case turn <- struct{}{}:
		defer func() { <-turn }()
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	js, s, err := t.stream(ctx, true)
	if err != nil {
		return 0, err
	}
	have, err := t.have(ctx, s, p)
	if err != nil {
		return 0, err
	}
	if err := t.e.Room(size); err != nil {
		return 0, err
	}
	m, named := state.Manifest{Size: size, Chunks: make([]state.Digest, chunks)}, map[string]bool{}
	for n := range m.Chunks {
		d, data, err := chunk(n)
		if err != nil {
			return added, err
		}
		m.Chunks[n] = d
		name := d.String()
		if d == (state.Digest{}) || named[name] {
			continue
		}
		named[name] = true
		if have[name] {
			continue
		}
		if err := publish(ctx, js, p.chunks()+name, data); err != nil {
			return added, err
		}
		added += int64(len(data))
	}
	if err := publish(ctx, js, p.manifest(), encode(key, m)); err != nil {
		return added, err
	}
	for name := range have {
		if !named[name] { // it is pushed: what stays behind is removed by the next push
			_ = s.Purge(ctx, jetstream.WithPurgeSubject(p.chunks()+name))
		}
	}
	return added, nil
}

// have returns the digests of the chunks that a key has.
func (t *Tier) have(ctx context.Context, s jetstream.Stream, p place) (map[string]bool, error) {
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(p.chunks()+">"))
	if err != nil {
		return nil, engine.Error(err)
	}
	have := map[string]bool{}
	for subject := range info.State.Subjects {
		have[strings.TrimPrefix(subject, p.chunks())] = true
	}
	return have, nil
}

func publish(ctx context.Context, js jetstream.JetStream, subject string, data []byte) error {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	_, err := js.Publish(ctx, subject, data)
	return engine.Error(err)
}

// Manifest implements state.Global.
func (t *Tier) Manifest(ctx context.Context, owner, key string) (m state.Manifest, err error) {
	data, err := t.last(ctx, placeOf(owner, key).manifest())
	if err != nil {
		return m, err
	}
	if m, err = decode(key, data); err != nil {
		return m, fmt.Errorf("%w: the manifest: %w", engine.ErrDamaged, err)
	}
	return m, nil
}

// Chunk implements state.Global.
func (t *Tier) Chunk(ctx context.Context, owner, key string, d state.Digest) ([]byte, error) {
	data, err := t.last(ctx, placeOf(owner, key).chunks()+d.String())
	switch {
	case errors.Is(err, state.ErrNotPushed):
		return nil, fmt.Errorf("%w: chunk %.12s is gone", engine.ErrDamaged, d)
	case err != nil:
		return nil, err
	case len(data) > state.ChunkBytes || sha256.Sum256(data) != d:
		return nil, fmt.Errorf("%w: chunk %.12s has another content", engine.ErrDamaged, d)
	}
	return data, nil
}

// last returns what a subject has.
func (t *Tier) last(ctx context.Context, subject string) ([]byte, error) {
	_, s, err := t.stream(ctx, false)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	msg, err := s.GetLastMsgForSubject(ctx, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, state.ErrNotPushed
	}
	if err != nil {
		return nil, engine.Error(err)
	}
	return msg.Data, nil
}

// Forget implements state.Global.
func (t *Tier) Forget(ctx context.Context, owner, key string) error {
	_, s, err := t.stream(ctx, false)
	if errors.Is(err, state.ErrNotPushed) {
		return nil
	}
	if err != nil {
		return err
	}
	p := placeOf(owner, key)
	if err := s.Purge(ctx, jetstream.WithPurgeSubject(p.manifest())); err != nil {
		return engine.Error(err)
	}
	return engine.Error(s.Purge(ctx, jetstream.WithPurgeSubject(p.chunks()+">")))
}

// A manifest's message: a version, the key with its length before it, the size, the digests,
// and the SHA-256 of all that.
const manifestVersion = 1

func encode(key string, m state.Manifest) []byte {
	b := []byte{manifestVersion}
	b = binary.LittleEndian.AppendUint16(b, uint16(len(key)))
	b = append(b, key...)
	b = binary.LittleEndian.AppendUint64(b, uint64(m.Size))
	for _, d := range m.Chunks {
		b = append(b, d[:]...)
	}
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

func decode(key string, b []byte) (m state.Manifest, err error) {
	end := len(b) - sha256.Size
	if end < 11 || b[0] != manifestVersion {
		return m, fmt.Errorf("%d bytes are none of version %d", len(b), manifestVersion)
	}
	if sum := sha256.Sum256(b[:end]); !slices.Equal(sum[:], b[end:]) {
		return m, errors.New("its checksum is another")
	}
	n := int(binary.LittleEndian.Uint16(b[1:]))
	rest := b[3:end]
	if len(rest) < n+8 || string(rest[:n]) != key || (len(rest)-n-8)%len(state.Digest{}) != 0 {
		return m, errors.New("it is of another key, or cut")
	}
	m.Size = int64(binary.LittleEndian.Uint64(rest[n:]))
	for part := range slices.Chunk(rest[n+8:], len(state.Digest{})) {
		m.Chunks = append(m.Chunks, state.Digest(part))
	}
	return m, nil
}
