package planner

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Start says where a function's code is loaded by the plans, and why not elsewhere.
type Start struct {
	// Plan is whose plan has the node: an owner's name, or "" for everybody's; Packages is
	// what the node holds, NAME==VERSION. Without packages it starts from its image's base.
	Plan     string   `json:"plan,omitempty"`
	Packages []string `json:"packages"`
	SavesMS  float64  `json:"saves_ms"` // of imports, as probes have measured them
	Why      string   `json:"why"`
	// Needs is what its code asks for, with all that this brings, as far as plans know.
	Needs []string `json:"needs,omitempty"`
	// Others are nodes that would save more, those first of which least is in the way.
	Others []Other `json:"others,omitempty"`
}

// Other is a node that a function does not start from.
type Other struct {
	Packages []string `json:"packages"`
	SavesMS  float64  `json:"saves_ms"`
	Why      string   `json:"why"`
	lacks    int
}

// shownOthers bounds those that are told of.
const shownOthers = 3

// String is a Start in a line.
func (s *Start) String() string {
	text := s.Why
	if len(s.Packages) > 0 {
		whose := "everybody"
		if s.Plan != "" {
			whose = s.Plan
		}
		text = fmt.Sprintf("planned for %s: %s, which saves %.1f ms", whose, strings.Join(s.Packages, " "), s.SavesMS)
	}
	for _, o := range s.Others {
		text += fmt.Sprintf("; not %s (%.1f ms): %s", strings.Join(o.Packages, " "), o.SavesMS, o.Why)
	}
	return text
}

// Why says where a function starts by the plans as they are, and why.
func (p *Planner) Why(name string) (*Start, error) {
	if !p.Active() {
		return &Start{Packages: []string{}, Why: "no plan is applied"}, nil
	}
	at, f, err := p.host.Function(name)
	if err != nil {
		return nil, err
	}
	return p.why(at, f), nil
}

func (p *Planner) why(at Place, f *Function) *Start {
	s := &Start{Packages: []string{}}
	p.mu.Lock()
	var plans []live
	for _, o := range slices.Compact([]string{"", f.Owner}) {
		if l := p.live[liveKey{o, at.id()}]; l != nil {
			now := *l
			now.failed = maps.Clone(l.failed)
			plans = append(plans, now)
		}
	}
	p.mu.Unlock()
	switch {
	case f.Elsewhere:
		s.Why = "it says itself where it starts"
	case at.Runtime == nil || at.Runtime.Packages == nil:
		s.Why = errNotPlanned.Error()
	case len(plans) == 0:
		s.Why = "no plan is applied to its image"
	case len(f.Environment) > 0:
		s.Why = "its environment has variables, which a package may look at when it is imported"
	}
	if s.Why != "" {
		return s
	}
	of := at.Runtime.Packages
	asks, own := of.Asks(f.Files), of.Own(f.Files)
	needed, waits := map[string]bool{}, map[string]bool{}
	for i := range plans {
		l := &plans[i]
		needs, unknown := l.known.needs(asks, own)
		for id := range needs {
			needed[id] = true
		}
		for _, id := range unknown {
			waits[id] = true
		}
		if n := l.best(needs); n >= 0 && l.ms[n] > s.SavesMS {
			s.Plan, s.Packages, s.SavesMS = l.Owner, l.pins(n), l.ms[n]
		}
	}
	s.Needs = sorted(needed)
	for i := range plans {
		s.Others = append(s.Others, plans[i].others(needed, s.SavesMS)...)
	}
	slices.SortStableFunc(s.Others, func(a, b Other) int { return a.lacks - b.lacks })
	s.Others = s.Others[:min(len(s.Others), shownOthers)]
	switch {
	case len(s.Packages) > 0:
		s.Why = "of the nodes that have nothing beyond what its code asks for it saves most"
	case len(waits) > 0:
		s.Why = "what it asks for is still to be looked at: " + strings.Join(sorted(waits), " ")
	case len(needed) == 0:
		s.Why = "its code asks for no package of its image, or brings what these import"
	default:
		s.Why = "no planned node has only packages that its code asks for"
	}
	return s
}

// pins are the packages of a node and those above it, as the plan has them.
func (l *laid) pins(i int) (list []string) {
	for ; i >= 0; i = l.Nodes[i].Parent {
		list = slices.Concat(l.Nodes[i].Packages, list)
	}
	return list
}

// others are the nodes that have something of what a function needs, would save it more than
// it is saved, and that it does not start from.
func (l *live) others(needs map[string]bool, saved float64) (list []Other) {
	for i := range l.Nodes {
		o := Other{Packages: l.pins(i), SavesMS: 0}
		var beyond []string
		for _, id := range l.needs[i] {
			switch p := l.known.Packages[id]; {
			case !needs[id]:
				beyond = append(beyond, id)
			case p != nil:
				o.SavesMS += p.MS
			}
		}
		if o.SavesMS <= saved || len(beyond) == 0 && l.owned[i] {
			continue
		}
		o.lacks = len(beyond)
		switch {
		case len(beyond) > 0:
			o.Why = "it has beyond what is asked for " + strings.Join(beyond[:min(len(beyond), shownOthers)], " ")
			if more := len(beyond) - shownOthers; more > 0 {
				o.Why += fmt.Sprintf(" and %d more", more)
			}
		case l.failed[i] != "":
			o.Why = "it could not be made: " + l.failed[i]
		default:
			o.Why = "a node above it could not be made, or all that it adds is left out"
		}
		list = append(list, o)
	}
	return list
}
