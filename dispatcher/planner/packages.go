package planner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"seuss/dispatcher/imports"
	"seuss/images/runtimes"
)

// Package is a package of an image, as a probe has found it.
type Package struct {
	Pin     string   `json:"pin"`             // NAME==VERSION
	Modules []string `json:"modules"`         // that are imported for it
	Needs   []string `json:"needs,omitempty"` // keys of what importing it brings, itself included
	Tops    []string `json:"tops,omitempty"`  // top-level modules that it brings
	MS      float64  `json:"ms"`              // self
	Pages   int64    `json:"pages"`           // self
	Probed  bool     `json:"probed"`
	Why     string   `json:"why,omitempty"` // it cannot be in a plan
}

func (p *Package) usable() bool { return p.Probed && p.Why == "" }

// key is a package's name for comparing: NAME==VERSION with the name as PEP 503 has it.
func key(pin string) string {
	name, version, _ := strings.Cut(pin, "==")
	return imports.Canonical(name) + "==" + version
}

// knowledge is what is known of the packages of a place. It does not change: what is
// found makes a new one.
type knowledge struct {
	Packages map[string]*Package // by key
	byModule map[string]string   // top-level module -> key
}

func newKnowledge(packages map[string]*Package) *knowledge {
	k := &knowledge{packages, map[string]string{}}
	for id, p := range packages {
		for _, m := range p.Modules {
			k.byModule[m] = id
		}
	}
	return k
}

// with returns k with another state of a package.
func (k *knowledge) with(id string, p *Package) *knowledge {
	packages := make(map[string]*Package, len(k.Packages))
	for other, was := range k.Packages {
		packages[other] = was
	}
	packages[id] = p
	return newKnowledge(packages)
}

// list asks an image for its packages.
func list(ctx context.Context, h Host, p Place) (*knowledge, error) {
	of := p.Runtime.Packages
	_, answer, err := h.Probe(ctx, p, Probe{of.List(), of.Handler})
	if err != nil {
		return nil, fmt.Errorf("list the packages of image %s: %w", p.Image, err)
	}
	var installed []runtimes.Installed
	if err := json.Unmarshal(answer, &installed); err != nil {
		return nil, fmt.Errorf("list the packages of image %s: %w", p.Image, err)
	}
	if len(installed) > maxInstalled {
		return nil, fmt.Errorf("image %s has %d packages, at most %d can be planned for", p.Image, len(installed), maxInstalled)
	}
	packages := map[string]*Package{}
	for _, i := range installed {
		pin := i.Name + "==" + i.Version
		found := &Package{Pin: pin, Modules: i.Modules}
		// What begins with an underscore is a package's own affair, where it has more.
		if public := slices.DeleteFunc(slices.Clone(i.Modules), func(m string) bool { return strings.HasPrefix(m, "_") }); len(public) > 0 {
			found.Modules = public
		}
		if len(found.Modules) > maxModules {
			found.Probed, found.Why = true, fmt.Sprintf("it has %d top-level modules, at most %d", len(found.Modules), maxModules)
		}
		packages[key(pin)] = found
	}
	return newKnowledge(packages), nil
}

// probe finds out what importing a package brings. The error is the host's; what is wrong
// with the package is in what is returned.
func probe(ctx context.Context, h Host, at Place, id string, p *Package) (*Package, error) {
	found := *p
	found.Probed = true
	of := at.Runtime.Packages
	within, cancel := context.WithTimeout(ctx, 2*ProbeTimeout)
	defer cancel()
	record, answer, err := h.Probe(within, at, Probe{of.Import(p.Modules), of.Handler})
	if ctx.Err() != nil || errors.Is(err, ErrNoRoom) {
		return nil, err
	}
	if err != nil {
		found.Why = cut(err.Error())
		return &found, nil
	}
	var imported runtimes.Imported
	if err := json.Unmarshal(answer, &imported); err != nil {
		found.Why = cut(err.Error())
		return &found, nil
	}
	found.Modules = slices.DeleteFunc(slices.Clone(p.Modules), func(m string) bool { return !slices.Contains(imported.Modules, m) })
	found.Tops = imported.Tops
	switch {
	case len(found.Modules) == 0:
		found.Why = cut(imported.Why)
		if found.Why == "" {
			found.Why = "none of its modules can be imported"
		}
	case len(found.Tops) > maxTops:
		found.Why = fmt.Sprintf("importing it brings %d top-level modules, at most %d", len(found.Tops), maxTops)
	}
	if record == nil { // the base has all of it
		found.Needs = []string{id}
		return &found, nil
	}
	if record.LeftOut > 0 && found.Why == "" {
		found.Why = fmt.Sprintf("importing it brings more than %d modules, of which it is not known whose they are", record.ModuleCount)
	}
	needs := map[string]bool{id: true}
	for _, d := range record.Distributions {
		needs[key(d.Pin())] = true
		if key(d.Pin()) == id {
			found.MS, found.Pages = d.MS, d.Pages
		}
	}
	found.Needs = sorted(needs)
	return &found, nil
}

func sorted(set map[string]bool) []string {
	list := make([]string, 0, len(set))
	for s := range set {
		list = append(list, s)
	}
	slices.Sort(list)
	return list
}

// cut shortens a reason.
func cut(why string) string {
	if r := []rune(strings.ToValidUTF8(why, "?")); len(r) > maxWhy {
		return string(r[:maxWhy-1]) + "…"
	}
	return strings.ToValidUTF8(why, "?")
}
