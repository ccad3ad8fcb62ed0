// Package replica has the same deployments on all members of a cluster.
//
// Each member keeps all of them, as it would alone, and serves from that: who else is here
// matters only when something changes. Whoever changes a function waits for its lock, which one
// of the members that are here keeps, chosen by the function's name; then it tells the others,
// who fetch code that they lack, by its digest, from whoever has it. A member that was away, or
// was not told, sees by a digest in the others' beats that it differs, and asks for what it
// lacks. Two members that do not see each other may change the same function: the later change
// by its stamp (functions.Stamp) holds, on every member, and the other one is named in the log.
//
// Units: bytes, time.Duration. Ownership: a Replica owns its goroutines until Close.
//
// Locks: Replica.mu, a leaf. The lock of a function (package keyed) is held by a request of
// the member that has it, and under it by nobody here.
package replica

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"seuss/dispatcher/cluster/peers"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/keyed"
	"seuss/lineage"
)

// Errors.
var (
	// ErrBehind: a change of a function is not here yet, and cannot be had now from who is.
	ErrBehind = errors.New("this member does not have the function's last change yet: try again")
	// ErrKeeper: the member that keeps a function's lock does not answer. Another one does in
	// its place when it is gone.
	ErrKeeper = errors.New("the member that keeps the order of changes of the function does not answer: try again in some seconds")
	// ErrConflict: a daemon has deployments of its own that the cluster has otherwise.
	ErrConflict = errors.New("deployed here, and otherwise in the cluster")
)

// Limits.
const (
	// tellTimeout is how long a change waits for the others to have it.
	tellTimeout = 5 * time.Second
	// fetchTimeout bounds the transfer of one function's code, listTimeout that of a list.
	fetchTimeout = 60 * time.Second
	listTimeout  = 60 * time.Second
	// tellers is how many members are told at a time, takers how many changes are taken over
	// at a time.
	tellers = 16
	takers  = 8
	// serving bounds answers with code that are under way: each is in memory.
	serving = 4
	// maxChanges bounds a message of changes, as many as one function can have; maxBucket a
	// list of those of many.
	maxChanges = 80 << 20
	maxBucket  = 1 << 30
	// settle is how long digests may differ before anybody asks: a change is under way.
	settle = 2 * time.Second
	// again is how long nobody asks a member for the same digest again.
	again = 15 * time.Second
	// buckets are the parts of which digests are compared.
	buckets = 256
	// maxConflicts bounds those that are shown.
	maxConflicts = 100
)

// Service is where deployments are used.
type Service interface {
	// Share has each change be made under lock, and told to changed.
	Share(member string, lock func(ctx context.Context, function string) (unlock func(), err error), changed func(deployment string))
	Records() functions.Shared
	Take(ctx context.Context, c *functions.Change, code []byte) error
}

// Options are what a Replica is made with.
type Options struct {
	Member  string
	Service Service
	Peers   *peers.Peers
	// Here lists the other members that are here.
	Here func() []string
	// Patience is how long a member is asked for a lock that does not answer: until it would
	// be seen gone.
	Patience time.Duration
	Log      *slog.Logger
}

// Replica is this member's deployments as the cluster's.
type Replica struct {
	o     Options
	store functions.Shared
	locks keyed.Locks // of functions whose locks this member keeps
	codes chan struct{}

	mu        sync.Mutex
	families  [buckets]map[string]*family // by function
	sums      [buckets]uint64
	count     int                       // of what is deployed
	pending   map[string][]string       // changes under a function's lock that the others have not been told of
	heard     map[string]functions.Mark // told to this member, and not here yet
	differ    map[string]difference     // by member
	conflicts []Conflict
	syncing   bool
	work      sync.WaitGroup
	end       context.Context
	stop      context.CancelFunc
}

// mark is the state of a deployment.
type mark struct {
	functions.Mark
	there bool // it is deployed
}

// family is a function with its versions.
type family struct {
	own      mark
	known    bool            // there is something about the function itself
	versions map[string]mark // by key; nil: none
}

// keys lists the deployments, versions before the function, whose aliases name them.
func (f *family) keys(function string) []string {
	list := slices.Sorted(maps.Keys(f.versions))
	if f.known {
		list = append(list, function)
	}
	return list
}

// difference is what a member says that it has, and since when that is something else.
type difference struct {
	sum   string
	since time.Time
	asked time.Time
}

// Conflict is a change that was lost to another one, since neither member knew of the other's.
type Conflict struct {
	Deployment string    `json:"deployment"`
	Lost       string    `json:"lost"`  // whose change
	Holds      string    `json:"holds"` // whose change
	At         time.Time `json:"at"`
}

// New makes a Replica of what is deployed. Own deployments have no stamps yet; see Join.
func New(o Options) (*Replica, error) {
	r := &Replica{
		o: o, store: o.Service.Records(), codes: make(chan struct{}, serving),
		pending: map[string][]string{}, heard: map[string]functions.Mark{}, differ: map[string]difference{},
	}
	for i := range r.families {
		r.families[i] = map[string]*family{}
	}
	r.end, r.stop = context.WithCancel(context.Background())
	if err := r.store.States(func(c *functions.Change) { r.note(c.Key, c) }); err != nil {
		o.Log.Error("some deployments cannot be read: the cluster's take their place, where it has them", "error", err)
	}
	r.routes()
	o.Service.Share(o.Member, r.Lock, r.Changed)
	return r, nil
}

// bucketOf is the part of the digests that a deployment counts in.
func bucketOf(key string) int {
	h := fnv.New32a()
	io.WriteString(h, functions.BaseName(key))
	return int(h.Sum32() % buckets)
}

// weight is what a state adds to its bucket's digest.
func weight(key string, m functions.Mark) uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s %d %s %d", key, m.Count, m.By, m.Digest)
	return h.Sum64()
}

// note takes a state into the digests; nil: nothing is known of it any more.
func (r *Replica) note(key string, c *functions.Change) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b, base := bucketOf(key), functions.BaseName(key)
	old := r.markLocked(key)
	if old.Count > 0 {
		r.sums[b] ^= weight(key, old.Mark)
	}
	if old.there {
		r.count--
	}
	of := r.families[b][base]
	if c == nil {
		if of == nil {
			return
		}
		if key == base {
			of.own, of.known = mark{}, false
		}
		if delete(of.versions, key); !of.known && len(of.versions) == 0 {
			delete(r.families[b], base)
		}
		return
	}
	if of == nil {
		of = &family{}
		r.families[b][base] = of
	}
	m := mark{c.Mark(), c.Record != nil}
	if m.there {
		r.count++
	}
	if key == base {
		of.own, of.known = m, true
	} else {
		if of.versions == nil {
			of.versions = map[string]mark{}
		}
		of.versions[key] = m
	}
	if m.Count > 0 {
		r.sums[b] ^= weight(key, m.Mark)
	}
	if h, ok := r.heard[key]; ok && !h.After(m.Mark) {
		delete(r.heard, key)
	}
}

// Changed notes that a deployment has changed. It reads what it is now: whoever calls it holds
// nothing that the store needs to be read.
func (r *Replica) Changed(key string) {
	c, err := r.store.State(key)
	if err != nil {
		r.o.Log.Error("a deployment that has changed cannot be read", "deployment", key, "error", err)
		return
	}
	r.note(key, c)
	base := functions.BaseName(key)
	r.mu.Lock()
	defer r.mu.Unlock()
	if list, held := r.pending[base]; held && !slices.Contains(list, key) {
		r.pending[base] = append(list, key)
	}
}

// Sum is the digest of all deployments: members with the same one have the same.
func (r *Replica) Sum() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := uint64(0)
	for _, s := range r.sums {
		all = all*0x9e3779b97f4a7c15 + s // odd, so that no bucket is lost
	}
	return strconv.FormatUint(all, 16)
}

// Count returns how many deployments there are, versions among them.
func (r *Replica) Count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count
}

// Conflicts returns the changes that were lost since the start, the latest of them.
func (r *Replica) Conflicts() []Conflict {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.conflicts)
}

func (r *Replica) markOf(key string) mark {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.markLocked(key)
}

// markLocked is markOf. mu is held.
func (r *Replica) markLocked(key string) mark {
	base := functions.BaseName(key)
	f := r.families[bucketOf(key)][base]
	switch {
	case f == nil:
		return mark{}
	case key == base:
		return f.own
	}
	return f.versions[key]
}

// take takes over one state that a member has told of.
func (r *Replica) take(ctx context.Context, c *functions.Change, from string) error {
	if err := c.Check(); err != nil {
		return err
	}
	here := r.markOf(c.Key)
	if !c.Mark().After(here.Mark) {
		return nil
	}
	lost, err := r.store.State(c.Key)
	if err != nil && !errors.Is(err, lineage.ErrFormat) {
		return err
	}
	var code []byte
	if c.Record != nil {
		if code, err = r.code(ctx, c, from); err != nil {
			return fmt.Errorf("%s: its code: %w", c.Key, err)
		}
	}
	if err := r.o.Service.Take(ctx, c, code); err != nil {
		return err
	}
	// Of a daemon in no cluster nobody knows which one it was: two of them may have counted alike.
	alike := lost != nil && c.Stamp.Count == lost.Stamp.Count && c.Stamp.By == lost.Stamp.By
	if lost != nil && lost.Stamp.Count > 0 && (alike || !c.Stamp.Knows(&lost.Stamp)) && !lost.Same(c) {
		r.conflict(Conflict{c.Key, lost.Stamp.By, c.Stamp.By, time.Now().UTC()})
	}
	return nil
}

func (r *Replica) conflict(c Conflict) {
	r.o.Log.Error("a deployment was changed on two members that did not know of each other's change: the later one holds, deploy the other one again if it is wanted",
		"deployment", c.Deployment, "holds", c.Holds, "lost", c.Lost)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.conflicts) >= maxConflicts {
		r.conflicts = slices.Delete(r.conflicts, 0, 1)
	}
	r.conflicts = append(r.conflicts, c)
}

// code returns the code of a deployment from whoever has it; nil: it is here.
func (r *Replica) code(ctx context.Context, c *functions.Change, from string) ([]byte, error) {
	owner, digest := functions.OwnerOf(c.Key), c.Record.CodeDigest
	if _, err := r.store.CodeOf(owner, digest); err == nil {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	var errs []error
	tried := map[string]bool{r.o.Member: true}
	for _, member := range append([]string{from, c.Stamp.By}, r.o.Here()...) {
		if tried[member] || member == functions.Offline {
			continue
		}
		tried[member] = true
		code, err := r.fetch(ctx, member, "/v1/code/"+digest+"?owner="+owner, functions.MaxCodeBytes)
		if err == nil && functions.CodeDigest(code) != digest {
			err = fmt.Errorf("member %q: what it has sent is not %s: %w", member, digest, lineage.ErrChecksum)
		}
		if err == nil {
			return code, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// fetch gets a document of a member's.
func (r *Replica) fetch(ctx context.Context, member, path string, limit int64) ([]byte, error) {
	answer, err := r.o.Peers.Do(ctx, member, http.MethodGet, path, nil, nil)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(io.LimitReader(answer.Body, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s takes more than %d bytes: %w", path, limit, lineage.ErrInvalid)
	}
	if err != nil {
		return nil, fmt.Errorf("member %q: %w", member, err)
	}
	return b, nil
}

// Close ends what is under way.
func (r *Replica) Close() {
	r.mu.Lock()
	r.stop() // Hear begins nothing from here on
	r.mu.Unlock()
	r.work.Wait()
}
