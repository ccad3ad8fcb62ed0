package planner

import (
	"context"
	"errors"
	"time"

	"seuss/lineage"
)

// piece is one thing to do beside the requests.
type piece struct {
	l    *live
	laid *laid  // that it was when this was chosen
	list bool   // the image's packages
	id   string // of a package to look at
	node int    // to make; -1: none
	move string // a function
}

// Pace says how plans are lived with.
type Pace int

// The paces.
const (
	OnDemand   Pace = iota // functions start by plans, and what they need of these is made
	Beside                 // and beside the requests is made what is missing, in a fifth of a processor's time
	Nightly                // and plans for everybody are fitted anew at night
	Continuous             // and plans for everybody are fitted anew when the functions that are called are others
	Hurried                // as Beside, without rests
	Off                    // plans are left alone
)

// Set reads what serve --plan says.
func (p *Pace) Set(text string) error {
	paces := map[string]Pace{"off": Off, "manual": Beside, "nightly": Nightly, "continuous": Continuous}
	pace, ok := paces[text]
	if !ok {
		return errors.New("must be off, manual, nightly or continuous")
	}
	*p = pace
	return nil
}

// Run does what is to be done beside the requests, until ctx ends: it looks at packages,
// makes nodes, those that save most first, and moves functions. One thing at a time, and
// after each it rests, as pace says, and waits a while if who serves is busy: so it makes
// progress beside a daemon that always is.
func (p *Planner) Run(ctx context.Context, pace Pace) {
	for ctx.Err() == nil {
		w, ok, next := p.next(time.Now())
		if !ok || w.move != "" {
			p.settle(next)
		}
		if !ok {
			var again <-chan time.Time
			if !next.IsZero() {
				again = time.After(time.Until(next))
			}
			select {
			case <-ctx.Done():
			case <-p.wake:
			case <-again:
			}
			continue
		}
		began := time.Now()
		p.do(ctx, w)
		p.mu.Lock()
		p.busy = false
		p.mu.Unlock()
		if pace != Hurried && (w.l == nil || !w.l.now) {
			sleep(ctx, min((share-1)*time.Since(began), maxRest))
			p.idle(ctx, maxYield)
		}
	}
}

// settle tells the host once that nothing more can be made, unless something waits.
func (p *Planner) settle(waits time.Time) {
	p.mu.Lock()
	tell := p.fresh && waits.IsZero()
	if tell {
		p.fresh = false
	}
	p.mu.Unlock()
	if tell {
		p.host.Settled()
	}
}

// next chooses what to do, and marks the planner busy with it. Where there is nothing it
// says when there will be, if that is known.
func (p *Planner) next(now time.Time) (w piece, ok bool, again time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range inTurn(p.live) {
		if now.Before(l.after) {
			if again.IsZero() || l.after.Before(again) {
				again = l.after
			}
			continue
		}
		if w, ok = p.pieceOf(l); ok {
			p.busy = true
			p.turn++
			l.turn = p.turn
			return w, true, again
		}
	}
	if name, ok := p.moving.next(); ok {
		p.busy = true
		return piece{move: name, node: -1}, true, again
	}
	return piece{}, false, again
}

// anything reports whether some plan has something to do. mu is held.
func (p *Planner) anything() bool {
	for _, l := range p.live {
		if _, ok := p.pieceOf(l); ok {
			return true
		}
	}
	return false
}

// pieceOf chooses what to do for a plan. mu is held.
func (p *Planner) pieceOf(l *live) (piece, bool) {
	k := p.knowledgeOf(&l.Place)
	if k != l.known {
		l.laid = lay(l.Applied, k)
		for i := range l.failed {
			l.laid = l.laid.without(i)
		}
	}
	if len(k.Packages) == 0 {
		return piece{l: l, laid: l.laid, list: true, node: -1}, true
	}
	ask := func(id string) (piece, bool) {
		known := k.Packages[id]
		return piece{l: l, laid: l.laid, id: id, node: -1}, known != nil && !known.Probed
	}
	for id := range l.asked { // a function waits to know where it starts
		if w, ok := ask(id); ok {
			return w, true
		}
		delete(l.asked, id)
	}
	// A node needs the packages of its way alone: none waits for those of others.
	known := make([]bool, len(l.Nodes)) // with those above: each is looked at once
	for _, i := range l.order {
		for at := i; at >= 0 && !known[at]; at = l.Nodes[at].Parent {
			known[at] = true
			for _, pin := range l.Nodes[at].Packages {
				if w, ok := ask(key(pin)); ok {
					return w, true
				}
			}
		}
		if l.owned[i] && !l.tried[i] {
			return piece{l: l, laid: l.laid, node: i}, true
		}
	}
	return piece{}, false
}

// do does one thing. What fails for want of room is tried again.
func (p *Planner) do(ctx context.Context, w piece) {
	var err error
	switch {
	case w.move != "":
		moved, err := p.host.Move(ctx, w.move)
		if err != nil && ctx.Err() == nil {
			p.log.Warn("a function stays where it is", "function", w.move, "error", err)
		}
		if moved {
			p.mu.Lock()
			p.moved++
			p.mu.Unlock()
		}
		return
	case w.list:
		var k *knowledge
		if k, err = list(ctx, p.host, w.laid.Place); err == nil {
			if len(k.Packages) == 0 {
				err = errors.New("the image has no packages that could be planned for")
			} else {
				err = p.learn(&w.laid.Place, k)
			}
		}
	case w.id != "":
		p.mu.Lock()
		k := p.knowledgeOf(&w.laid.Place)
		p.mu.Unlock()
		var found *Package
		if found, err = probe(ctx, p.host, w.laid.Place, w.id, k.Packages[w.id]); err == nil {
			if found.Why != "" {
				p.log.Warn("a package is left out of plans", "image", w.laid.Image, "package", found.Pin, "reason", found.Why)
			}
			err = p.learn(&w.laid.Place, k.with(w.id, found))
		}
	default:
		err = p.make(ctx, w.l, w.laid, w.node)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	before := w.l.trouble
	w.l.trouble, p.fresh = "", true
	if err != nil && ctx.Err() == nil {
		w.l.trouble, w.l.after = cut(err.Error()), time.Now().Add(retryAfter)
		if w.l.trouble != before { // else it has been said
			p.log.Warn("a plan waits", "image", w.laid.Image, "owner", w.laid.Owner, "error", err)
		}
	}
}

// make makes a node. An error is of the host; what is wrong with the node is noted.
func (p *Planner) make(ctx context.Context, of *live, l *laid, i int) error {
	within, cancel := context.WithTimeout(ctx, 2*ProbeTimeout*time.Duration(len(l.steps[i])))
	defer cancel()
	made, err := p.host.Make(within, l.Place, l.Owner, l.steps[i])
	switch {
	case ctx.Err() != nil || errors.Is(err, ErrNoRoom) || errors.Is(err, lineage.ErrNotFound) || isFull(err):
		return err
	case err == nil && made:
		p.log.Info("a node of a plan is made", "image", l.Image, "packages", l.Nodes[i].Packages)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if of.tried[i] = true; err != nil {
		p.fail(of, i, err)
	}
	return nil
}

// learn keeps what was found of a place's packages.
func (p *Planner) learn(at *Place, k *knowledge) error {
	if err := p.saveKnowledge(at, k); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known[at.id()] = k
	return nil
}
