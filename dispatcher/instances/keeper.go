package instances

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"seuss/dispatcher/instances/records"
)

// Errors. Those of a Body come as they are.
var (
	// ErrUnknown: there is no instance of that name.
	ErrUnknown = errors.New("unknown instance")
	// ErrExists: there is one of that name.
	ErrExists = errors.New("there is an instance of that name")
	// ErrFailed: it is over.
	ErrFailed = errors.New("the instance has failed")
	// ErrBusy: more is asked of it than may wait.
	ErrBusy = errors.New("the instance is busy")
	// ErrTooMany: an owner, or all, would have more than they may.
	ErrTooMany = errors.New("too many instances")
	// ErrInvalid: no instance may be asked for that.
	ErrInvalid = errors.New("not possible")
	// ErrClosed: the Keeper was closed.
	ErrClosed = errors.New("no instances are kept any more")
)

// Bounds.
const (
	MaxFork     = 10_000  // copies at a time
	maxWaiting  = 64      // calls of an instance that wait for their turn with it
	maxCode     = 6 << 20 // bytes, as of an event
	maxNameText = 64
)

// Options configure a Keeper.
type Options struct {
	// Make makes what an instance of an owner's is to be.
	Make func(ctx context.Context, owner string, s *Spec) (Body, error)
	// Most says how many instances an owner may have; 0, or nil: any number.
	Most func(owner string) int
	// Bytes bounds the memory of all instances, and half of it that of one owner's, unless he
	// is the Host; 0: no bound. One that grows beyond it has failed.
	Bytes uint64
	Host  string       // the owner whose the host is
	Log   *slog.Logger // nil: nowhere
	// Records is a file in which it is written what there is, for Restore; "": none. With Leave
	// it is another's: what is in it is left as it is, and none can be durable.
	Records string
	Leave   bool
	// Unseal lets go of a node that was made to keep an instance, unless somebody else has use
	// for it; nil: nothing does.
	Unseal func(node string)
	// Flatten makes a node that is what another is, and hangs below none of an instance's; nil:
	// nothing does.
	Flatten func(node string) (string, error)
}

// Keeper keeps instances. Its methods may be called from any goroutine.
type Keeper struct {
	o    Options
	stop context.CancelFunc
	ctx  context.Context
	all  sync.WaitGroup // of its goroutines

	mu     sync.Mutex
	closed bool
	byKey  map[string]*Instance // by owner and name
	owners map[string]*account
	bytes  uint64
	turn   Admit

	forkTime time.Duration // see the constant
	sealing  chan struct{} // of those that are kept at the end, as many as may be at it at a time

	records *records.Log      // nil: none
	kept    map[string]int    // nodes that instances come back as, and how many do; mu
	others  map[string]string // nodes where instances stand that another service keeps

	watching sync.Mutex
	seen     map[*Watcher]struct{}
}

// account is what an owner has.
type account struct {
	instances int
	bytes     uint64
}

// New makes a Keeper.
func New(o Options) *Keeper {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	k := &Keeper{o: o, byKey: map[string]*Instance{}, owners: map[string]*account{}, kept: map[string]int{}, seen: map[*Watcher]struct{}{}, forkTime: forkTime, sealing: make(chan struct{}, runtime.GOMAXPROCS(0))}
	k.ctx, k.stop = context.WithCancel(context.Background())
	return k
}

// Admit waits for a turn with a machine, for an instance of an owner's; cancel is what ends
// what the turn is for.
type Admit func(ctx context.Context, cancel context.CancelCauseFunc, owner, name string) (Turn, error)

// Admit has turns given by f from now on; before, there are as many as are asked for.
func (k *Keeper) Admit(f Admit) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.turn = f
}

// take takes a turn; nil: nobody counts them.
func (k *Keeper) take(ctx context.Context, cancel context.CancelCauseFunc, i *Instance) (Turn, error) {
	k.mu.Lock()
	f := k.turn
	k.mu.Unlock()
	if f == nil {
		return nil, nil
	}
	return f(ctx, cancel, i.owner, i.info.Name)
}

func keyOf(owner, name string) string { return owner + "/" + name }

// checkName refuses what is no name.
func checkName(name string) error {
	ok := name != "" && len(name) <= maxNameText
	for _, c := range []byte(name) {
		ok = ok && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_')
	}
	if !ok {
		return fmt.Errorf("name %.80q: want 1 to %d of A-Z a-z 0-9 _ -: %w", name, maxNameText, ErrInvalid)
	}
	return nil
}

// NewName makes a name up, for Spec.MakeUp and ForkAs. Nobody else may give such a one.
func NewName() string {
	var b [6]byte
	rand.Read(b[:])
	return "i-" + hex.EncodeToString(b[:])
}

// madeUp are names of NewName. Instances of such are not kept where the service ends in order.
var madeUp = regexp.MustCompile(`^i-[0-9a-f]{12}$`)

// checkGiven refuses what is no name, or looks like one that was made up.
func checkGiven(name string) error {
	if madeUp.MatchString(name) {
		return fmt.Errorf("name %q: i- and 12 hexadecimal digits are names that are made up: give another, or none: %w", name, ErrInvalid)
	}
	return checkName(name)
}

func (s *Spec) check() error {
	given := 0
	for _, of := range []string{s.Function, s.Image, s.Snapshot} {
		if of != "" {
			given++
		}
	}
	switch {
	case given > 1:
		return fmt.Errorf("an instance is of a function, an image or a snapshot, not of several: %w", ErrInvalid)
	case given == 0:
		return fmt.Errorf("an instance of what? Name a function, an image or a snapshot: %w", ErrInvalid)
	case s.Program != nil && s.Image == "":
		return fmt.Errorf("a program is one of an image: name that: %w", ErrInvalid)
	case s.TTL < 0 || s.IdleTTL < 0 || s.MemoryMiB < 0:
		return fmt.Errorf("a time to live, or memory, below 0: %w", ErrInvalid)
	}
	if s.madeUp {
		return checkName(s.Name)
	}
	return checkGiven(s.Name)
}

// Create makes an instance.
func (k *Keeper) Create(ctx context.Context, owner string, s Spec) (Info, error) {
	if s.Name == "" {
		s.MakeUp()
	}
	if err := s.check(); err != nil {
		return Info{}, fmt.Errorf("create an instance: %w", err)
	}
	if s.Durable && k.records == nil {
		return Info{}, fmt.Errorf("create instance %q: it cannot be durable: nothing is kept here: %w", s.Name, ErrInvalid)
	}
	i := newInstance(k, owner, s)
	if err := k.enter([]*Instance{i}, 0); err != nil { // its name is taken from now on
		return Info{}, fmt.Errorf("create instance %q: %w", s.Name, err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	t, err := k.take(ctx, cancel, i)
	var body Body
	if err == nil {
		body, err = k.o.Make(ctx, owner, &s)
		if t != nil {
			t.Release()
		}
	}
	if err != nil {
		k.leave(i)
		return Info{}, fmt.Errorf("create instance %q: %w", s.Name, err)
	}
	i.prepare(body)
	if err := k.note(s.Durable, i); err != nil {
		i.kept.as("", false)
		k.leave(i)
		body.Close()
		return Info{}, fmt.Errorf("create instance %q: %w", s.Name, err)
	}
	i.begin()
	return i.Info(), nil
}

// enter takes instances into the lists, all or none; bytes is what each takes.
func (k *Keeper) enter(list []*Instance, bytes uint64) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return ErrClosed
	}
	owner := list[0].owner
	names := make(map[string]bool, len(list))
	for _, i := range list {
		if k.byKey[i.key] != nil || names[i.key] {
			return fmt.Errorf("%q: %w", i.info.Name, ErrExists)
		}
		names[i.key] = true
	}
	if err := k.within(owner, len(list)); err != nil {
		return err
	}
	has := uint64(0)
	if a := k.owners[owner]; a != nil {
		has = a.bytes
	}
	if err := k.room(owner, has, max(uint64(len(list))*bytes, 1)); err != nil {
		return err
	}
	for _, i := range list {
		k.add(i, bytes)
	}
	return nil
}

// fill counts what instances take each that have entered with nothing, all or none.
func (k *Keeper) fill(list []*Instance, bytes uint64) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	a := k.owners[list[0].owner]
	all := uint64(len(list)) * bytes
	if err := k.room(list[0].owner, a.bytes, all); err != nil {
		return err
	}
	k.bytes += all
	a.bytes += all
	for _, i := range list {
		i.counted = bytes
	}
	return nil
}

// within refuses an owner so many more than he has, where that is more than he may. mu is held.
func (k *Keeper) within(owner string, more int) error {
	if k.o.Most == nil {
		return nil
	}
	has := 0
	if a := k.owners[owner]; a != nil {
		has = a.instances
	}
	if most := k.o.Most(owner); most > 0 && has+more > most {
		return fmt.Errorf("%w: owner %q has %d and would have %d more, at most %d are allowed: remove some (seussctl instance rm), or allow more (seussctl owner set)", ErrTooMany, owner, has, more, most)
	}
	return nil
}

// add takes an instance into the lists. mu is held.
func (k *Keeper) add(i *Instance, bytes uint64) {
	a := k.owners[i.owner]
	if a == nil {
		a = &account{}
		k.owners[i.owner] = a
	}
	a.instances++
	a.bytes += bytes
	k.bytes += bytes
	k.byKey[i.key], i.counted = i, bytes
}

// room refuses so many bytes more of an owner's, who has some. mu is held.
func (k *Keeper) room(owner string, has, more uint64) error {
	if k.o.Bytes == 0 {
		return nil
	}
	most, whose := k.o.Bytes, "all instances"
	if half := most / 2; owner != k.o.Host && has+more > half {
		most, whose = half, fmt.Sprintf("owner %q's instances", owner)
	} else {
		has = k.bytes
	}
	if has+more > most {
		return fmt.Errorf("%w: the memory of %s would be %d bytes, at most %d are allowed: remove some (seussctl instance rm), or allow more (serve --parked-memory)", ErrTooMany, whose, has+more, most)
	}
	return nil
}

// leave takes one out.
func (k *Keeper) leave(i *Instance) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.byKey[i.key] != i {
		return
	}
	delete(k.byKey, i.key)
	a := k.owners[i.owner]
	if a.instances--; a.instances == 0 {
		delete(k.owners, i.owner)
	}
	k.bytes -= i.counted
	a.bytes -= i.counted
	i.counted = 0
}

// grows reports whether an instance may take so much.
func (k *Keeper) grows(i *Instance, bytes uint64) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	a := k.owners[i.owner]
	return a == nil || bytes <= i.counted || k.room(i.owner, a.bytes, bytes-i.counted) == nil
}

// count notes what an instance takes. An error is why it may not: it has grown.
func (k *Keeper) count(i *Instance, bytes uint64) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.byKey[i.key] != i {
		return nil
	}
	a, grown := k.owners[i.owner], bytes > i.counted
	k.bytes += bytes - i.counted
	a.bytes += bytes - i.counted
	i.counted = bytes
	if !grown {
		return nil
	}
	return k.room(i.owner, a.bytes, 0)
}

// Get finds an instance of an owner's.
func (k *Keeper) Get(owner, name string) (*Instance, error) {
	k.mu.Lock()
	i := k.byKey[keyOf(owner, name)]
	k.mu.Unlock()
	if i == nil || !i.ready() {
		return nil, fmt.Errorf("%w: %q", ErrUnknown, name)
	}
	return i, nil
}

// List lists those that are wanted, by owner and name.
func (k *Keeper) List(wanted func(*Info) bool) []Info {
	k.mu.Lock()
	all := make([]*Instance, 0, len(k.byKey))
	for _, i := range k.byKey {
		all = append(all, i)
	}
	k.mu.Unlock()
	list := []Info{}
	for _, i := range all {
		if info := i.Info(); i.ready() && wanted(&info) {
			list = append(list, info)
		}
	}
	slices.SortFunc(list, func(a, b Info) int {
		return cmp.Or(strings.Compare(a.Owner, b.Owner), strings.Compare(a.Name, b.Name))
	})
	return list
}

// Close ends all instances. What they do is cancelled.
func (k *Keeper) Close() {
	k.mu.Lock()
	k.closed = true
	all := make([]*Instance, 0, len(k.byKey))
	for _, i := range k.byKey {
		all = append(all, i)
	}
	k.mu.Unlock()
	k.stop()
	for _, i := range all {
		i.ring()
	}
	k.all.Wait()
	if k.records != nil {
		if err := k.records.Close(); err != nil {
			k.o.Log.Error("what is known of instances may not be on the disk", "error", err)
		}
	}
}

// Stats are a Keeper's counts.
type Stats struct {
	Instances int    `json:"instances"`
	Bytes     uint64 `json:"bytes"`
	Owners    int    `json:"owners"`
}

// Stats returns the counts.
func (k *Keeper) Stats() Stats {
	k.mu.Lock()
	defer k.mu.Unlock()
	return Stats{Instances: len(k.byKey), Bytes: k.bytes, Owners: len(k.owners)}
}

// Uses adds the nodes where instances stand, whosever they are.
func (k *Keeper) Uses(nodes map[string]bool) {
	for id := range k.others {
		nodes[id] = true
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for id := range k.kept {
		nodes[id] = true
	}
	for _, i := range k.byKey {
		i.mu.Lock()
		if id := i.info.Node; id != "" {
			nodes[id] = true
		}
		i.mu.Unlock()
	}
}

// earlier is the earlier of two times, of which zero is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
