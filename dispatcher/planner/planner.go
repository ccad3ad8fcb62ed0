package planner

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"seuss/dispatcher/plan"
	"seuss/lineage"
	"seuss/lineage/sealed"
)

// Planner keeps the plans of one state directory, and lives with them.
type Planner struct {
	dir   string
	fs    sealed.FS
	host  Host
	nodes *lineage.Store
	log   *slog.Logger
	wake  chan struct{} // there is something to do

	changing sync.Mutex // one plan is applied or dropped at a time: what is live is what the files say

	active atomic.Bool // some plan is applied: what a request's path asks
	mu     sync.Mutex  // all below
	live   map[liveKey]*live
	known  map[string]*knowledge // by place
	moving moves                 // functions to look at
	turn   uint64                // pieces of work that were begun
	moved  uint64                // functions that were captured anew
	busy   bool                  // Run has something in hand
	fresh  bool                  // something is there that was not when the Host was last told
}

type liveKey struct{ owner, place string }

// live is an applied plan with how far it is.
type live struct {
	*laid                   // replaced, never changed
	asked   map[string]bool // packages to look at that functions ask for
	now     bool            // work for it does not rest
	failed  map[int]string  // nodes that cannot be made, and why
	tried   map[int]bool    // nodes that were made, or cannot be: once each
	trouble string          // why nothing goes on at present
	after   time.Time       // when it is tried again
	turn    uint64          // Planner.turn, when it was last served: who comes goes last
}

// New reads the plans of a state directory, which its owner may write. Plans that cannot
// be read are logged, and left alone.
func New(nodes *lineage.Store, h Host, log *slog.Logger) *Planner {
	p := &Planner{dir: filepath.Join(nodes.Dir(), Dir), fs: sealed.OS(), host: h, nodes: nodes, log: log, wake: make(chan struct{}, 1),
		live: map[liveKey]*live{}, known: map[string]*knowledge{}}
	plans, err := ReadPlans(nodes.Dir())
	if err != nil {
		log.Warn("some plans are not used", "error", err)
	}
	for _, a := range plans {
		at, err := h.Place(a.Digest, a.Key)
		if err != nil {
			log.Warn("a plan is not used", "image", a.Image, "owner", a.Owner, "error", err)
			continue
		}
		at.Image = a.Image
		a.Place = at
		p.put(a, false)
	}
	return p
}

// put begins to live with a plan.
func (p *Planner) put(a *Applied, now bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	k := p.knowledgeOf(&a.Place)
	p.live[liveKey{a.Owner, a.id()}] = &live{laid: lay(a, k), now: now, asked: map[string]bool{}, failed: map[int]string{}, tried: map[int]bool{}, turn: p.turn}
	p.active.Store(true)
	p.fresh = true
	p.poke()
}

// Active reports whether some plan is applied.
func (p *Planner) Active() bool { return p != nil && p.active.Load() }

// knowledgeOf returns what is known of a place; nothing is a knowledge too. mu is held.
func (p *Planner) knowledgeOf(at *Place) *knowledge {
	k := p.known[at.id()]
	if k == nil {
		var err error
		if k, err = readKnowledge(p.dir, at); err != nil {
			p.log.Warn("the packages of an image are looked at anew", "image", at.Image, "error", err)
		}
		if k == nil {
			k = newKnowledge(nil)
		}
		p.known[at.id()] = k
	}
	return k
}

func (p *Planner) poke() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Apply applies a plan in place of the one that is: from its return on functions start
// from those of its nodes that are made, and Run makes the others.
func (p *Planner) Apply(ask Ask) (*Status, error) {
	a, err := p.apply(&ask)
	if err != nil {
		return nil, fmt.Errorf("apply plan: %w", err)
	}
	for _, s := range p.Status(a.Owner, false) {
		if s.Owner == a.Owner && s.id() == a.id() {
			return s, nil
		}
	}
	return nil, fmt.Errorf("apply plan: %w", errNoPlan) // it was dropped at once
}

func (p *Planner) apply(ask *Ask) (*Applied, error) {
	if ask.Tree == nil {
		return nil, fmt.Errorf("there is no tree: %w", lineage.ErrInvalid)
	}
	tree := &plan.Tree{Root: ask.Tree}
	if err := tree.Check(); err != nil {
		return nil, fmt.Errorf("%w: %w", err, lineage.ErrInvalid)
	}
	at, err := p.host.Place(ask.Image, ask.Runtime)
	if err != nil {
		return nil, err
	}
	if at.Runtime == nil || at.Runtime.Packages == nil {
		return nil, fmt.Errorf("image %s: %w", at.Image, errNotPlanned)
	}
	owner := ask.ownerOf()
	a, err := newApplied(owner, at, tree, time.Now())
	if err != nil {
		return nil, err
	}
	a.Fitted = ask.fitted
	p.changing.Lock()
	defer p.changing.Unlock()
	p.mu.Lock()
	plans, owned, his, hisNodes := 1, len(a.Nodes), 0, len(a.Nodes)
	for k, l := range p.live {
		if k == (liveKey{owner, at.id()}) {
			continue // it is replaced
		}
		if plans++; k.owner != "" {
			owned += len(l.Nodes)
		}
		if owner != "" && k.owner == owner {
			his++
			hisNodes += len(l.Nodes)
		}
	}
	p.mu.Unlock()
	if plans > MaxPlans {
		return nil, fmt.Errorf("%d plans are applied, at most %d: drop one first: %w", plans-1, MaxPlans, lineage.ErrInvalid)
	}
	if owner != "" && owned > maxOwnedNodes {
		return nil, fmt.Errorf("all owners' plans would have %d nodes, at most %d: fit one with fewer --nodes, or have another one dropped: %w", owned, maxOwnedNodes, lineage.ErrInvalid)
	}
	if his >= MaxOwnersPlans {
		return nil, fmt.Errorf("%d plans of owner %q are applied, at most %d: drop one first: %w", his, owner, MaxOwnersPlans, lineage.ErrInvalid)
	}
	if owner != "" && hisNodes > maxOwnersAll {
		return nil, fmt.Errorf("the plans of owner %q would have %d nodes, at most %d: fit one with fewer --nodes, or drop another one: %w", owner, hisNodes, maxOwnersAll, lineage.ErrInvalid)
	}
	if err := p.write(p.planPath(owner, &at), a); err != nil {
		return nil, err
	}
	p.put(a, ask.Now)
	return a, nil
}

// Drop ends the life with a plan. Its nodes stay until a collection takes them.
func (p *Planner) Drop(which Which) error {
	owner := which.ownerOf()
	at, err := p.host.Place(which.Image, which.Runtime)
	p.changing.Lock()
	defer p.changing.Unlock()
	if err == nil {
		if err = p.fs.Delete(p.planPath(owner, &at)); errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("image %s: %w", at.Image, errNoPlan)
		}
	}
	if err != nil {
		return fmt.Errorf("drop plan: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.live, liveKey{owner, at.id()})
	p.active.Store(len(p.live) > 0)
	return nil
}

// Function is what a start depends on.
type Function struct {
	Name, Owner string
	Files       map[string][]byte
	Environment map[string]string
	Elsewhere   bool // it says itself where it starts
}

// Steps returns the way from the base to the node that a function starts from, and whose plan
// says so; none: from the base itself. A function whose environment has variables of its own starts there: a
// package may look at them when it is imported.
func (p *Planner) Steps(at Place, f *Function) (steps []Step, owner string) {
	if !p.Active() || at.Runtime == nil || at.Runtime.Packages == nil || len(f.Environment) > 0 {
		return nil, ""
	}
	p.mu.Lock()
	plans := p.plansFor(f.Owner, &at)
	p.mu.Unlock()
	if len(plans) == 0 {
		return nil, ""
	}
	of := at.Runtime.Packages
	asks, own := of.Asks(f.Files), of.Own(f.Files)
	saves := 0.0
	for _, l := range plans {
		needs, unknown := l.known.needs(asks, own)
		if len(unknown) > 0 {
			p.wonder(l.Owner, &at, unknown)
		}
		if n := l.best(needs); n >= 0 && l.ms[n] > saves {
			steps, owner, saves = l.steps[n], l.Owner, l.ms[n]
		}
	}
	return steps, owner
}

// plansFor returns the plans that an owner's functions use, as they are now. mu is held.
func (p *Planner) plansFor(owner string, at *Place) (list []*laid) {
	for _, o := range slices.Compact([]string{"", owner}) {
		if l := p.live[liveKey{o, at.id()}]; l != nil {
			list = append(list, l.laid)
		}
	}
	return list
}

// topOf is the top-level module of a dotted one.
func topOf(module string) string {
	top, _, _ := strings.Cut(module, ".")
	return top
}

// needs returns the packages that whoever asks for modules needs, with all that these
// bring, but without those of which his own files would be imported in part. unknown are
// those that nobody has looked at.
func (k *knowledge) needs(asks, own []string) (needs map[string]bool, unknown []string) {
	brings := map[string]bool{}
	for _, m := range own {
		brings[m] = true
	}
	needs = map[string]bool{}
	for _, module := range asks {
		top := topOf(module)
		p := k.Packages[k.byModule[top]]
		if p == nil || brings[top] {
			continue
		}
		if !p.Probed {
			unknown = append(unknown, key(p.Pin))
			continue
		}
		for _, id := range p.Needs {
			needs[id] = true
		}
	}
	for id := range needs {
		if p := k.Packages[id]; p != nil && slices.ContainsFunc(p.Tops, func(top string) bool { return brings[top] }) {
			delete(needs, id)
		}
	}
	return needs, unknown
}

// wonder has packages looked at that functions ask for and no plan names: they may bring
// some that one does.
func (p *Planner) wonder(owner string, at *Place, unknown []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l := p.live[liveKey{owner, at.id()}]; l != nil {
		for _, id := range unknown {
			l.asked[id] = true
		}
		p.poke()
	}
}

// Touched notes that a function is used: it is captured anew below its best node if it
// stands elsewhere. It does not wait for that.
func (p *Planner) Touched(name, owner string, digest, runtime string) {
	if !p.Active() {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	at := Place{Digest: digest, Key: runtime}
	if len(p.plansFor(owner, &at)) > 0 && p.moving.add(owner, name) {
		p.poke()
	}
}

// Failed notes that a node could not be made for who needed it.
func (p *Planner) Failed(at Place, steps []Step, why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.live {
		for i := range l.Nodes {
			if l.id() == at.id() && l.owned[i] && same(l.steps[i], steps) {
				p.fail(l, i, why)
			}
		}
	}
}

// fail notes that a node cannot be made, and takes it from those that functions start
// from. mu is held.
func (p *Planner) fail(l *live, i int, why error) {
	l.failed[i], l.tried[i] = cut(why.Error()), true
	l.laid = l.laid.without(i)
	p.log.Warn("a node of a plan cannot be made and is left out", "image", l.Image, "packages", l.Nodes[i].Packages, "error", why)
}

func same(a, b []Step) bool {
	return slices.EqualFunc(a, b, func(x, y Step) bool { return slices.Equal(x.Modules, y.Modules) })
}

// Wanted returns the ids of the nodes that plans want.
func (p *Planner) Wanted() map[string]bool {
	p.mu.Lock()
	plans := make([]*laid, 0, len(p.live))
	for _, l := range p.live {
		plans = append(plans, l.laid)
	}
	p.mu.Unlock()
	ids := map[string]bool{}
	for _, l := range plans {
		l.wanted(p.nodes.Catalogue(), ids)
	}
	return ids
}

// Wait returns when nothing is left to do, or what is left has to wait for room.
func (p *Planner) Wait(ctx context.Context) error {
	for {
		p.mu.Lock()
		idle := !p.busy && !p.fresh && p.moving.count == 0 && !p.anything()
		var trouble error
		for _, l := range p.live {
			if l.trouble != "" {
				trouble = errors.New(l.trouble)
			}
		}
		p.mu.Unlock()
		if idle || trouble != nil {
			return trouble
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
