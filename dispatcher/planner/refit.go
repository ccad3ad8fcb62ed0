package planner

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"seuss/dispatcher/imports"
	"seuss/dispatcher/plan"
	"seuss/lineage"
)

// When plans for everybody's functions are fitted anew, by the paces that do.
const (
	nightHour = 3             // of the local time, by Nightly
	nightEnds = 3 * time.Hour // later: a daemon that is busy until then is left alone
	lookEvery = time.Minute   // for changes, by Continuous
	lookShare = 100           // looks take at most one part in so many of the time
	leastNew  = 5             // functions, before there is a first plan
	drift     = 0.1           // of the calls go to other functions than at the last fit
	fitNodes  = 160           // where the study's throughput no longer rose
	fitSlice  = 5 * time.Millisecond
	// makingCosts is what making a node takes, in imports of its packages: they are looked
	// at, imported and captured.
	makingCosts = 3
	// better is which part of what the plan leaves to import now a new one has to save at
	// least, beyond what making its nodes takes: plans of about the same worth do not take
	// turns.
	better = 0.05
)

// errNotWorth: a plan would not pay.
var errNotWorth = errors.New("a new plan would not pay")

// LoadedOf is what a function has imported, as fits take it. What its handler imports of a
// package that the load has imported already costs it little, and is left out.
func LoadedOf(name string, calls uint64, s *imports.Summary) plan.Loaded {
	loaded := plan.Loaded{Name: name, Calls: calls}
	for _, d := range s.Distributions {
		loaded.Packages = append(loaded.Packages, plan.LoadedPackage{Pin: d.Pin(), Cost: costOf(d.MS, d.Pages), Needs: d.Needs})
	}
	if s.Later == nil {
		return loaded
	}
	for _, d := range s.Later.Distributions {
		if !slices.ContainsFunc(s.Distributions, func(o imports.Distribution) bool { return o.Pin() == d.Pin() }) {
			loaded.Packages = append(loaded.Packages, plan.LoadedPackage{Pin: d.Pin(), Cost: costOf(d.MS, d.Pages), Needs: d.Needs, Later: s.Later.Part(&d)})
		}
	}
	return loaded
}

func costOf(ms float64, pages int64) plan.Cost {
	return plan.Cost{MS: ms, MiB: float64(pages) * lineage.PageSize / (1 << 20)}
}

// population is the functions of a place.
type population struct {
	Place
	functions []Deployed
	calls     map[string]uint64 // by code
}

// Refits fits plans for everybody's functions anew, as pace says, and applies those that
// pay, until ctx ends. It waits while who serves is busy.
func (p *Planner) Refits(ctx context.Context, pace Pace) {
	if pace != Nightly && pace != Continuous {
		return
	}
	var last map[string]fitted // by place
	wait := lookEvery
	for {
		if pace == Nightly {
			wait = untilNight(time.Now())
		}
		if !sleep(ctx, wait) {
			return
		}
		began := time.Now()
		if pace == Nightly && !p.idle(ctx, nightEnds) {
			p.log.Info("no plan was fitted this night: the daemon was busy")
			continue
		}
		if p.host.Busy() {
			continue
		}
		last = p.refit(ctx, pace, last)
		wait = max(lookEvery, lookShare*time.Since(began))
	}
}

// Refit fits plans for everybody's functions once, and applies those that pay. Why others
// are not applied is logged.
func (p *Planner) Refit(ctx context.Context) { p.refit(ctx, Nightly, nil) }

// fitted is what a plan was fitted to.
type fitted struct {
	calls map[string]uint64 // by code
	pays  bool              // it was applied
}

// due reports whether there is more to be gained by another fit: other functions are called,
// or so much more that what did not pay may.
func (f fitted) due(now map[string]uint64) bool {
	return changed(f.calls, now) || len(f.calls) > 0 && !f.pays && total(now) >= 2*total(f.calls)
}

// refit returns what plans were fitted to of the places that there are. A fit that failed is
// none: it is tried again.
func (p *Planner) refit(ctx context.Context, pace Pace, last map[string]fitted) map[string]fitted {
	places, err := p.populations()
	if err != nil {
		p.log.Warn("some functions are not planned for", "error", err)
	}
	now := map[string]fitted{}
	for _, of := range places {
		before, is := last[of.id()]
		if pace == Continuous && (!before.due(of.calls) || p.working(of.id())) {
			if is {
				now[of.id()] = before
			}
			continue
		}
		err := p.fit(ctx, of)
		if ctx.Err() != nil {
			break
		}
		p.tellFit(of.Image, err)
		if err == nil || errors.Is(err, errNotWorth) {
			now[of.id()] = fitted{of.calls, err == nil}
		}
	}
	return now
}

// sleep reports whether ctx has not ended meanwhile.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// idle waits until who serves is not busy, but not for longer than most.
func (p *Planner) idle(ctx context.Context, most time.Duration) bool {
	for end := time.Now().Add(most); p.host.Busy(); {
		if left := time.Until(end); left <= 0 || !sleep(ctx, min(idleLook, left)) {
			return false
		}
	}
	return true
}

func (p *Planner) tellFit(image string, err error) {
	switch {
	case err == nil:
		p.log.Info("a plan was fitted and is applied", "image", image)
	case errors.Is(err, errNotWorth):
		p.log.Info("no plan is applied", "image", image, "reason", err)
	default:
		p.log.Warn("no plan could be fitted", "image", image, "error", err)
	}
}

func untilNight(now time.Time) time.Duration {
	night := time.Date(now.Year(), now.Month(), now.Day(), nightHour, 0, 0, 0, now.Location())
	if !night.After(now) {
		night = night.AddDate(0, 0, 1)
	}
	return night.Sub(now)
}

// working reports whether the shared plan of a place is not all made yet.
func (p *Planner) working(place string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.live[liveKey{"", place}]
	if l == nil {
		return false
	}
	_, more := p.pieceOf(l)
	return more
}

// populations are the functions that there are, by place: the code of a function once.
func (p *Planner) populations() ([]*population, error) {
	list, err := p.host.Deployed()
	var places []*population
	at := map[string]*population{}
	for _, f := range list {
		of := at[f.id()]
		if of == nil {
			of = &population{Place: f.Place, calls: map[string]uint64{}}
			at[f.id()], places = of, append(places, of)
		}
		of.functions = append(of.functions, f)
		of.calls[f.Code] += max(f.Calls, 1)
	}
	return places, err
}

func total(calls map[string]uint64) (sum float64) {
	for _, n := range calls {
		sum += float64(n)
	}
	return sum
}

// changed reports whether a part of the calls, drift, goes to other code than before.
func changed(before, now map[string]uint64) bool {
	if len(before) == 0 {
		return len(now) >= leastNew
	}
	was, is, moved := total(before), total(now), 0.0
	for code, n := range now {
		moved += max(float64(n)/is-float64(before[code])/was, 0)
	}
	return len(now) > 0 && moved >= drift
}

// fit fits a plan for everybody's functions of a place, in a share of a processor's time, and
// applies it. The error matches errNotWorth if it would not pay.
func (p *Planner) fit(ctx context.Context, of *population) error {
	k, err := p.listed(ctx, of.Place)
	if err != nil {
		return err
	}
	h, err := p.historyOf(of, k)
	if err != nil {
		return err
	}
	if len(h.Costs) == 0 {
		return fmt.Errorf("%w: it is not known what functions import", errNotWorth)
	}
	w, err := plan.NewWorkload(h.Calls)
	if err != nil {
		return err
	}
	began := time.Now()
	slow := plan.Pausing(ctx, func() {
		if took := time.Since(began); took >= fitSlice {
			sleep(ctx, (share-1)*took)
			p.idle(ctx, maxYield)
			began = time.Now()
		}
	})
	after, err := plan.Cover(slow, w, h.Dependencies, h.Costs, plan.CoverOptions{Nodes: fitNodes})
	if err != nil {
		return err
	}
	if err := pays(p.shared(of.id()), after, w, h.Costs); err != nil {
		return err
	}
	_, err = p.Apply(Ask{Which: Which{Image: of.Image, Runtime: of.Key, Shared: true}, Tree: after.Root, fitted: true})
	return err
}

// listed is what is known of an image's packages, which are asked for where nothing is.
func (p *Planner) listed(ctx context.Context, at Place) (*knowledge, error) {
	p.mu.Lock()
	k := p.knowledgeOf(&at)
	p.mu.Unlock()
	if len(k.Packages) > 0 {
		return k, nil
	}
	k, err := list(ctx, p.host, at)
	if err == nil {
		err = p.learn(&at, k)
	}
	return k, err
}

// historyOf is what functions have imported, as far as the image has it and it can be in a
// node; of too many those that are called most, owner by owner. Functions measure themselves, and could forge it: what a probe has found goes before.
func (p *Planner) historyOf(of *population, k *knowledge) (*plan.History, error) {
	var known []plan.Loaded
	pins := 0
	for _, f := range someOf(of.functions, maxFitted) {
		if pins >= maxFittedPins {
			break
		}
		s, err := p.host.Imported(f.Name)
		if err != nil || s == nil {
			continue // a hint that cannot be read is none
		}
		all := LoadedOf(f.Name, f.Calls, s)
		told := all.Packages
		all.Packages = nil
		has := map[string]bool{}
		for _, found := range told {
			is := k.Packages[key(found.Pin)]
			if is == nil || is.Why != "" || has[is.Pin] {
				continue
			}
			// As the image spells them: however functions do, it is one package.
			has[is.Pin], found.Pin = true, is.Pin
			found.Cost.MS = min(found.Cost.MS, ProbeTimeout.Seconds()*1000) // what takes longer is left out
			needs := found.Needs
			found.Needs = nil
			for _, pin := range needs {
				if other := k.Packages[key(pin)]; other != nil {
					found.Needs = append(found.Needs, other.Pin)
				}
			}
			all.Packages = append(all.Packages, found)
		}
		known = append(known, all)
		pins += len(all.Packages)
	}
	h, err := plan.NewHistory(known)
	if err != nil {
		return nil, err
	}
	for column := range h.Costs {
		if found := k.Packages[key(column)]; found.usable() {
			h.Costs[column] = costOf(found.MS, max(found.Pages, 0))
		}
	}
	return h, nil
}

// shared is the plan for everybody's functions of a place, which may be empty.
func (p *Planner) shared(place string) *plan.Tree {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l := p.live[liveKey{"", place}]; l != nil {
		return l.tree()
	}
	return (&Applied{}).tree()
}

// pays reports whether what a plan saves beyond another one, over the calls that are known,
// is more than making its nodes takes.
func pays(before, after *plan.Tree, w *plan.Workload, costs plan.Costs) error {
	d := plan.Diff(before, after)
	if len(d.Added) == 0 {
		return fmt.Errorf("%w: it has no node that there is not", errNotWorth)
	}
	was, err := plan.Evaluate(before, w, plan.LookupBest, costs)
	if err != nil {
		return err
	}
	is, err := plan.Evaluate(after, w, plan.LookupBest, costs)
	if err != nil {
		return err
	}
	added := map[string]bool{}
	for _, held := range d.Added {
		added[strings.Join(held, " ")] = true
	}
	takes := 0.0
	var walk func(n *plan.Node, above []string)
	walk = func(n *plan.Node, above []string) {
		held := slices.Concat(above, n.Packages)
		if added[strings.Join(slices.Sorted(slices.Values(held)), " ")] {
			for _, column := range n.Packages {
				takes += makingCosts * costs[column].MS
			}
		}
		for _, child := range n.Children {
			walk(child, held)
		}
	}
	walk(after.Root, nil)
	if saved := was.RemainingMS - is.RemainingMS; saved <= takes+better*was.RemainingMS {
		return fmt.Errorf("%w: over the %d calls that are known it would save %.0f ms of %.0f ms of imports, and making its nodes takes %.0f ms", errNotWorth, is.Calls, saved, was.RemainingMS, takes)
	}
	return nil
}
