// Package pushed is the global tier of state: what was pushed, in the engine.
//
// Each owner has a stream: a message for the manifest of a key, whose subject has the key, and
// one for each chunk, whose subject has the key and the chunk's digest, so that a chunk that is
// there is not written again, and one key's are nobody else's. (The engine's object store takes
// two messages, each synced, for what fits into one.) A push writes the chunks that are missing,
// then the manifest, which takes the place of the one before, then removes the chunks that it
// does not name. Ended anywhere, the key is what it was before or after.
//
// Units: bytes, of the disk: messages with what the engine writes beside them. Locks: Tier.mu,
// a leaf; pushes of a key go one after the other (Tier.turns).
package pushed

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"seuss/dispatcher/engine"
	"seuss/dispatcher/state"
)

const (
	streamName = "STATE_" // before the owner's name
	subjects   = "pushed."
)

// opTimeout bounds one message to the engine.
const opTimeout = 30 * time.Second

// messageOverhead is what the engine writes beside a message's subject and content, about.
const messageOverhead = 30

// DefaultBytes is what all that was pushed may take of the disk.
const DefaultBytes = 4 << 30

// Tier is the global tier in an engine.
type Tier struct {
	e     *engine.Engine
	bytes int64 // what all may take; an owner as of values in memory (state.OwnerMost)
	host  string
	turns [64]chan struct{} // by key: who has it pushes

	mu      sync.Mutex
	coming  int64            // what pushes under way may add
	ofOwner map[string]int64 // the same, by owner
}

var _ state.Global = (*Tier)(nil)

// New makes the tier of an engine, which it does not own. It takes so many bytes at most; 0:
// DefaultBytes; host is the owner who may have all of them.
func New(e *engine.Engine, bytes int64, host string) *Tier {
	t := &Tier{e: e, bytes: cmp.Or(bytes, DefaultBytes), host: host, ofOwner: map[string]int64{}}
	for n := range t.turns {
		t.turns[n] = make(chan struct{}, 1)
	}
	return t
}

// stream returns an owner's stream; make: it is made where it is not there, else that is
// state.ErrNotPushed.
func (t *Tier) stream(ctx context.Context, owner string, make bool) (jetstream.JetStream, jetstream.Stream, error) {
	if !make && !t.e.Kept() {
		return nil, nil, state.ErrNotPushed
	}
	js, err := t.e.JetStream(ctx)
	if err != nil {
		return nil, nil, err
	}
	s, err := js.Stream(ctx, streamName+owner)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if !make {
			return nil, nil, state.ErrNotPushed
		}
		s, err = js.CreateStream(ctx, jetstream.StreamConfig{
			Name: streamName + owner, Subjects: []string{subjects + owner + ".>"}, Storage: jetstream.FileStorage,
			MaxMsgsPerSubject: 1, Discard: jetstream.DiscardOld, AllowDirect: true,
		})
	}
	return js, s, engine.Error(err)
}

// place is where a key's messages are.
type place struct{ owner, key string }

// text is a key as a part of a subject.
var text = base64.RawURLEncoding

func manifests(owner string) string { return subjects + owner + ".m." }

func (p place) manifest() string { return manifests(p.owner) + text.EncodeToString([]byte(p.key)) }

func (p place) chunks() string {
	sum := sha256.Sum256([]byte(p.key))
	return subjects + p.owner + ".c." + hex.EncodeToString(sum[:16]) + "."
}

// turn waits until nobody else changes what is kept of the key.
func (t *Tier) turn(ctx context.Context, p place) (leave func(), err error) {
	h := fnv.New32a()
	h.Write([]byte(p.owner + p.key))
	turn := t.turns[h.Sum32()%uint32(len(t.turns))]
	select {
	case turn <- struct{}{}:
		return func() { <-turn }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// adding is what a push adds, as it goes on.
type adding struct {
	t          *Tier
	owner      string
	own, taken int64 // at its beginning
	added      int64
}

// add looks at what there is.
func (t *Tier) add(ctx context.Context, js jetstream.JetStream, s jetstream.Stream, owner string) (*adding, error) {
	all, err := js.AccountInfo(ctx)
	if err != nil {
		return nil, engine.Error(err)
	}
	return &adding{t: t, owner: owner, own: int64(s.CachedInfo().State.Bytes), taken: int64(all.Store)}, nil
}

// take counts in that so many bytes more are added, or refuses it.
func (a *adding) take(more int64) error {
	t := a.t
	t.mu.Lock()
	defer t.mu.Unlock()
	own, taken, limit := a.own+t.ofOwner[a.owner], a.taken+t.coming, state.OwnerMost(t.bytes, t.host, a.owner)
	switch {
	case own+more > limit:
		return fmt.Errorf("what its owner has pushed takes %d bytes, %d more are wanted, %d is the most (serve --state-disk): forget what is not needed: %w", own, more, limit, state.ErrFull)
	case taken+more > t.bytes:
		return fmt.Errorf("what was pushed takes %d bytes, %d more are wanted, %d is the most (serve --state-disk): %w", taken, more, t.bytes, state.ErrFull)
	}
	t.count(a.owner, more)
	a.added += more
	return nil
}

// end counts out what is there by now, or will not be.
func (a *adding) end() {
	a.t.mu.Lock()
	defer a.t.mu.Unlock()
	a.t.count(a.owner, -a.added)
}

// count changes what is under way. mu is held.
func (t *Tier) count(owner string, n int64) {
	t.coming += n
	if t.ofOwner[owner] += n; t.ofOwner[owner] == 0 {
		delete(t.ofOwner, owner)
	}
}

// Push implements state.Global.
func (t *Tier) Push(ctx context.Context, owner, key string, size int64, chunks int, chunk func(n int) (state.Digest, []byte, error)) (added int64, err error) {
	p := place{owner, key}
	leave, err := t.turn(ctx, p)
	if err != nil {
		return 0, err
	}
	defer leave()
	js, s, err := t.stream(ctx, owner, true)
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
	adds, err := t.add(ctx, js, s, owner)
	if err != nil {
		return 0, err
	}
	defer adds.end()
	put := func(subject string, data []byte) error {
		if err := adds.take(int64(len(subject) + len(data) + messageOverhead)); err != nil {
			return err
		}
		return publish(ctx, js, subject, data)
	}
	var fresh []string
	defer func() {
		for ; err != nil && len(fresh) > 0; fresh = fresh[1:] { // what nothing will name; a later push removes what is left
			_ = s.Purge(context.WithoutCancel(ctx), jetstream.WithPurgeSubject(p.chunks()+fresh[0]))
		}
	}()
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
		if err := put(p.chunks()+name, data); err != nil {
			return added, err
		}
		fresh = append(fresh, name)
		added += int64(len(data))
	}
	if err := put(p.manifest(), encode(key, m)); err != nil {
		return added, err
	}
	for name := range have {
		if !named[name] { // it is pushed: what stays behind is removed by the next push
			_ = s.Purge(ctx, jetstream.WithPurgeSubject(p.chunks()+name))
		}
	}
	return added, nil
}

// have returns the digests of the chunks that a key has, and has s know what it takes.
func (t *Tier) have(ctx context.Context, s jetstream.Stream, p place) (map[string]bool, error) {
	list, err := t.behind(ctx, s, p.chunks())
	have := map[string]bool{}
	for _, digest := range list {
		have[digest] = true
	}
	return have, err
}

// behind returns what stands behind the beginning of subjects.
func (t *Tier) behind(ctx context.Context, s jetstream.Stream, prefix string) (list []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(prefix+">"))
	if err != nil {
		return nil, engine.Error(err)
	}
	for subject := range info.State.Subjects {
		list = append(list, strings.TrimPrefix(subject, prefix))
	}
	return list, nil
}

func publish(ctx context.Context, js jetstream.JetStream, subject string, data []byte) error {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	_, err := js.Publish(ctx, subject, data)
	return engine.Error(err)
}

// Manifest implements state.Global.
func (t *Tier) Manifest(ctx context.Context, owner, key string) (m state.Manifest, err error) {
	data, err := t.last(ctx, owner, place{owner, key}.manifest())
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
	data, err := t.last(ctx, owner, place{owner, key}.chunks()+d.String())
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
func (t *Tier) last(ctx context.Context, owner, subject string) ([]byte, error) {
	_, s, err := t.stream(ctx, owner, false)
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
	p := place{owner, key}
	leave, err := t.turn(ctx, p)
	if err != nil {
		return err
	}
	defer leave()
	_, s, err := t.stream(ctx, owner, false)
	if err != nil {
		return err
	}
	if _, err := t.last(ctx, owner, p.manifest()); err != nil {
		return err
	}
	if err := s.Purge(ctx, jetstream.WithPurgeSubject(p.manifest())); err != nil {
		return engine.Error(err)
	}
	return engine.Error(s.Purge(ctx, jetstream.WithPurgeSubject(p.chunks()+">")))
}

// Keys implements state.Global.
func (t *Tier) Keys(ctx context.Context, owner, prefix string) (keys []string, err error) {
	_, s, err := t.stream(ctx, owner, false)
	if errors.Is(err, state.ErrNotPushed) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	list, err := t.behind(ctx, s, manifests(owner))
	if err != nil {
		return nil, err
	}
	for _, name := range list {
		if key, err := text.DecodeString(name); err == nil && strings.HasPrefix(string(key), prefix) {
			keys = append(keys, string(key))
		}
	}
	slices.Sort(keys)
	return keys, nil
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
