package chain

import (
	"cmp"
	"container/list"
	"context"
	"hash/maphash"
	"sync"
	"time"
)

// Link is where an invocation stands in a chain.
type Link struct {
	Request string // its id
	Root    string // the id of the first of the chain; its own, where nobody has called it
	Parent  string // its caller's id; "": nobody's
	// Above are the functions, by their keys, of the invocations above it, the first before
	// the others.
	Above []string
}

// Call is a function that is to be run.
type Call struct {
	Link
	Function string // its key, with the qualifier that it was called by
	Event    []byte
	Deadline time.Time // of the result; zero: the function's own time alone counts
}

// Options configure Chains; Run is needed.
type Options struct {
	// Run runs a function and returns its result, which stays as it is. began is to be called
	// when its turn has come, once. A *Failure is the function's, a *Refusal is tried again.
	Run func(ctx context.Context, c *Call, began func()) ([]byte, error)
	// Host is the owner who may have all of Calls and Bytes: he whose the host is.
	Host string
	// Asking is how many calls of one function ask for a turn at a time; 1 if it is 0.
	Asking int
	// Calls is how many calls there may be, and their kept results; DefaultCalls.
	Calls int
	// Bytes is what events and results may take of memory; DefaultMemory.
	Bytes int64
	// Keep is for how long the result of a call with an idempotency key is kept; DefaultKeep.
	Keep time.Duration
}

// Defaults of Options.
const (
	DefaultCalls  = 40_000
	DefaultMemory = 256 << 20
	DefaultKeep   = 5 * time.Minute
)

// Bounds of a caller.
const (
	// MaxDepth is how many invocations a chain has, one called by the other.
	MaxDepth = 64
	// MaxCalls are those that it has not awaited.
	MaxCalls = 10_000
	// MaxEvent is the size of an event, in bytes, as that of any event.
	MaxEvent = 6 << 20
	// MaxKey is the length of an idempotency key.
	MaxKey = 256
)

// callBytes is what a call takes beside its event and its result, about.
const callBytes = 1 << 10

// Chains are the calls of all functions. Methods may be called from any goroutine.
type Chains struct {
	o    Options
	seed maphash.Seed
	work sync.WaitGroup // calls that ask or run

	mu     sync.Mutex
	closed bool
	open   map[*Caller]struct{}
	queues map[string]*queue // of functions of which calls wait or ask
	runs   map[string]*call  // that are not over, by owner and the id of the request
	keys   map[string]*call  // by owner, function and idempotency key
	kept   list.List         // *call: over, and kept for its key, the oldest first
	idle   list.List         // *call: those of them that no caller has
	order  uint64            // of calls
	taken  amount
	owners map[string]*owner
	stats  Stats
}

// amount is what somebody has of what there may be.
type amount struct {
	calls int
	bytes int64
}

// owner is what an owner has.
type owner struct {
	amount
	idle list.List // *call: see Chains.idle
}

// Stats are the counts.
type Stats struct {
	Open     int    `json:"open"`    // calls that nobody has awaited, and kept results
	Waiting  int    `json:"waiting"` // that have not begun
	Bytes    int64  `json:"bytes"`
	Kept     int    `json:"kept"`
	Calls    uint64 `json:"calls"`     // that were made
	Joined   uint64 `json:"joined"`    // that were found again by their keys
	Failed   uint64 `json:"failed"`    // that have given no result
	Canceled uint64 `json:"cancelled"` // that were cancelled, or whose caller ended
}

// New makes a Chains.
func New(o Options) *Chains {
	o.Asking = max(o.Asking, 1)
	o.Calls, o.Bytes, o.Keep = cmp.Or(o.Calls, DefaultCalls), cmp.Or(o.Bytes, DefaultMemory), cmp.Or(o.Keep, DefaultKeep)
	return &Chains{o: o, seed: maphash.MakeSeed(), open: map[*Caller]struct{}{}, queues: map[string]*queue{}, runs: map[string]*call{}, keys: map[string]*call{}, owners: map[string]*owner{}}
}

// Serve has functions run by somebody else from now on. It is called before there are calls.
func (c *Chains) Serve(run func(ctx context.Context, c *Call, began func()) ([]byte, error)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.o.Run = run
}

// Stats returns the counts.
func (c *Chains) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	st := c.stats
	st.Open, st.Bytes, st.Kept = c.taken.calls, c.taken.bytes, c.kept.Len()
	return st
}

// Close cancels all calls and waits until none runs.
func (c *Chains) Close() {
	c.mu.Lock()
	c.closed = true
	for caller := range c.open {
		caller.end()
		for caller.dropSome(MaxCalls) {
		}
	}
	for c.kept.Len() > 0 {
		c.unkeep(c.kept.Front().Value.(*call))
	}
	c.mu.Unlock()
	c.work.Wait()
}
