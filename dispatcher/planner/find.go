package planner

import (
	"path/filepath"
	"slices"

	"seuss/guest"
	"seuss/lineage"
)

// Find returns the node at the end of steps, nil if there is none.
func Find(nodes lineage.Catalogue, p *Place, steps []Step) *lineage.Node {
	var at *lineage.Node
	for _, n := range nodes.Kind(lineage.KindBase) {
		if n.ImageDigest == p.Digest && n.Key.Runtime == p.Key && n.ABIVersion == guest.KernelVersion {
			at = n
		}
	}
	var modules []string
	for _, step := range steps {
		if at == nil {
			return nil
		}
		modules = append(modules, step.Modules...)
		below := nodes.Children(at.ID)
		i := slices.IndexFunc(below, func(n *lineage.Node) bool {
			return n.Kind == lineage.KindImport && slices.Equal(n.Key.Imports, modules)
		})
		if i < 0 {
			return nil
		}
		at = below[i]
	}
	return at
}

// wanted adds the ids of a plan's nodes that there are.
func (l *laid) wanted(nodes lineage.Catalogue, ids map[string]bool) {
	for i := range l.Nodes {
		if !l.owned[i] {
			continue
		}
		if n := Find(nodes, &l.Place, l.steps[i]); n != nil {
			ids[n.ID] = true
		}
	}
}

// WantedIn returns the ids of the nodes of a store that the plans in its directory want,
// for who has no Planner. Plans that cannot be read want nothing.
func WantedIn(s *lineage.Store) map[string]bool {
	ids := map[string]bool{}
	plans, _ := ReadPlans(s.Dir())
	for _, a := range plans {
		if k, err := readKnowledge(filepath.Join(s.Dir(), Dir), &a.Place); err == nil && k != nil {
			lay(a, k).wanted(s.Catalogue(), ids)
		}
	}
	return ids
}
