// Package members knows which members a cluster has, by what it hears of them: it decides
// who is here and who is gone, and has no connection of its own.
//
// Time is the hearer's own, from its monotonic clock: what clocks of other members say does
// not matter.
//
// Units: bytes, and time.Duration. Ownership: what a Table returns is the caller's.
//
// Locks: Table.mu, a leaf.
package members

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"seuss/dispatcher/cluster/held"
)

// When a member is heard, and when it is gone: it has missed three of its beats then, and
// others know it within five seconds of its end.
const (
	BeatEvery = time.Second
	GoneAfter = 4 * time.Second
)

// Limits.
const (
	MaxMembers   = 4096     // of a cluster; the gone ones count until they are forgotten
	MaxBeatBytes = 16 << 10 // of a beat
	// ForgetAfter is how long one that is gone is still shown.
	ForgetAfter = 24 * time.Hour
)

// Errors.
var (
	// ErrBeat: what was heard is no beat.
	ErrBeat = errors.New("not a member's beat")
	// ErrTaken: another process has the member's name.
	ErrTaken = errors.New("another member has this name")
	// ErrUnknown: the cluster has no member of that name.
	ErrUnknown = errors.New("unknown member")
	// ErrTooMany: the cluster has as many members as there may be.
	ErrTooMany = errors.New("too many members")
)

var (
	clusterPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,63}$`)
	memberPattern  = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$`)
)

// ValidCluster reports whether a cluster may be called so.
func ValidCluster(name string) bool { return clusterPattern.MatchString(name) }

// ValidName reports whether a member may be called so: as a host, with its domain or
// without. Longer names have no room in a certificate (RFC 5280, ub-common-name).
func ValidName(name string) bool { return len(name) <= 64 && memberPattern.MatchString(name) }

// Beat is what a member says of itself, every BeatEvery.
type Beat struct {
	Member string `json:"member"`
	// Life is of the process: another one that calls itself the same has another.
	Life     uint64    `json:"life,string"`
	Address  string    `json:"address"` // of its engine
	Peers    string    `json:"peers"`   // HOST:PORT at which other members ask it; see package peers
	Release  string    `json:"release"`
	Platform string    `json:"platform"`
	CPU      CPU       `json:"cpu"`
	Started  time.Time `json:"started"`
	Cordoned bool      `json:"cordoned"` // it is to get nothing new
	Leaving  bool      `json:"leaving"`  // it is about to end
	Load     Load      `json:"load"`
	// Deployed is the digest of all deployments, "" of one that does not share them: members
	// with the same one have the same deployments.
	Deployed string `json:"deployed,omitempty"`
	// Held says of which functions it holds the snapshot. A beat without Filter leaves what was
	// said before.
	Held Held `json:"held,omitzero"`
}

// Held is what a member holds.
type Held struct {
	Functions int    `json:"functions"`        // that it has snapshots of
	Filter    []byte `json:"filter,omitempty"` // see package held; empty in what a Table returns
}

// CPU is what a member's snapshots need.
type CPU struct {
	Name  string `json:"name"`  // vendor and model
	Flags string `json:"flags"` // the first 16 digits of a SHA-256 of the features' names and the size of the extended state
}

// Load is what a member has to do and what it has left.
type Load struct {
	Slots     int    `json:"slots"`   // invocations that may run at a time
	Running   int    `json:"running"` // now
	Waiting   int    `json:"waiting"` // for their turn, or parked
	Parked    int    `json:"parked"`  // of those: they take no slot
	Machines  int    `json:"machines"`
	Free      int    `json:"free"`      // of the machines
	Instances int    `json:"instances"` // that live on, parked or not
	Memory    uint64 `json:"memory_bytes"`
	Available uint64 `json:"available_bytes"` // of the memory
}

// Busy is how many invocations want a slot: those that are parked do not.
func (l *Load) Busy() int { return l.Running + max(0, l.Waiting-l.Parked) }

// State is what is known of a member.
type State string

// The states. A member that says that it leaves is leaving until it is silent.
const (
	Here    State = "here"
	Leaving State = "leaving"
	Gone    State = "gone"
)

// Member is a member as it was heard last.
type Member struct {
	Beat
	State State `json:"state"`
	// SilentMS is how long ago that was, in milliseconds.
	SilentMS int64       `json:"silent_ms"`
	Self     bool        `json:"self"` // it is who answers
	Holds    held.Filter `json:"-"`    // what it holds
}

// Usable reports whether something new may go to the member.
func (m *Member) Usable() bool { return m.State == Here && !m.Cordoned }

// Encode makes a beat's message.
func (b *Beat) Encode() ([]byte, error) { return json.Marshal(b) }

// Decode reads one. The error matches ErrBeat.
func Decode(message []byte) (*Beat, error) {
	if len(message) > MaxBeatBytes {
		return nil, fmt.Errorf("it has %d bytes, at most %d: %w", len(message), MaxBeatBytes, ErrBeat)
	}
	b := new(Beat)
	// A later release may say more: what is not known here is left out.
	if err := json.NewDecoder(bytes.NewReader(message)).Decode(b); err != nil {
		return nil, fmt.Errorf("%w: %w", err, ErrBeat)
	}
	if !ValidName(b.Member) || b.Life == 0 {
		return nil, fmt.Errorf("member %.100q, life %d: %w", b.Member, b.Life, ErrBeat)
	}
	l := &b.Load
	for _, n := range []int{l.Slots, l.Running, l.Waiting, l.Parked, l.Machines, l.Free, l.Instances, b.Held.Functions} {
		if n < 0 {
			return nil, fmt.Errorf("member %s: a negative count: %w", b.Member, ErrBeat)
		}
	}
	return b, nil
}

// Table is the members that were heard of.
type Table struct {
	self string
	life uint64
	now  func() time.Time

	mu   sync.Mutex
	rows map[string]*row
}

type row struct {
	beat  Beat
	heard time.Time
	holds held.Filter
}

// NewTable makes the table of a member. now is time.Now but for tests.
func NewTable(self string, life uint64, now func() time.Time) *Table {
	return &Table{self: self, life: life, now: now, rows: map[string]*row{}}
}

// Hear takes a beat in. The error matches ErrTaken where two processes have a name; who
// has it keeps it until he is gone.
func (t *Table) Hear(b *Beat) error {
	var holds held.Filter
	if len(b.Held.Filter) > 0 {
		var err error
		if holds, err = held.Decode(b.Held.Filter); err != nil {
			return fmt.Errorf("%s: %w: %w", b.Member, err, ErrBeat)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	if b.Member == t.self && b.Life != t.life {
		return fmt.Errorf("%s at %s: %w", b.Member, b.Address, ErrTaken)
	}
	r := t.rows[b.Member]
	switch {
	case r == nil:
		if err := t.room(now); err != nil {
			return err
		}
		r = &row{}
		t.rows[b.Member] = r
	case r.beat.Life != b.Life && !r.beat.Leaving && now.Sub(r.heard) < GoneAfter && r.beat.Address != b.Address:
		return fmt.Errorf("%s at %s, and at %s: %w", b.Member, r.beat.Address, b.Address, ErrTaken)
	case r.beat.Life == b.Life && r.beat.Leaving && !b.Leaving:
		return nil // one that was under way when it said that it leaves
	}
	if holds.Empty() && r.beat.Life == b.Life {
		holds = r.holds
	}
	r.beat, r.heard, r.holds = *b, now, holds
	r.beat.Held.Filter = nil
	return nil
}

// room forgets who has been gone for long, and refuses beyond MaxMembers. mu is held.
func (t *Table) room(now time.Time) error {
	for name, r := range t.rows {
		if now.Sub(r.heard) > ForgetAfter {
			delete(t.rows, name)
		}
	}
	if len(t.rows) >= MaxMembers {
		return fmt.Errorf("%d members: %w", len(t.rows), ErrTooMany)
	}
	return nil
}

// List returns all members by name.
func (t *Table) List() []Member {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	list := make([]Member, 0, len(t.rows))
	for _, r := range t.rows {
		if now.Sub(r.heard) <= ForgetAfter {
			list = append(list, t.member(r, now))
		}
	}
	slices.SortFunc(list, func(a, b Member) int { return strings.Compare(a.Member, b.Member) })
	return list
}

// Get returns one member.
func (t *Table) Get(name string) (Member, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r := t.rows[name]; r != nil {
		return t.member(r, t.now()), nil
	}
	return Member{}, fmt.Errorf("%w: %q", ErrUnknown, name)
}

func (t *Table) member(r *row, now time.Time) Member {
	silent := now.Sub(r.heard)
	m := Member{Beat: r.beat, State: Here, SilentMS: silent.Milliseconds(), Self: r.beat.Member == t.self, Holds: r.holds}
	switch {
	case silent >= GoneAfter:
		m.State = Gone
	case r.beat.Leaving:
		m.State = Leaving
	}
	return m
}
