// Package imports is what a function has imported, when its code was loaded and later, at the
// first runs of its handler: which modules, of which distributions, in which order, and what
// that took, as the driver in the guest has measured it.
//
// All of it is a hint. The function runs in the guest that tells it, and can lie: names
// are checked, times and counts have bounds, and nothing is started from because of it.
//
// Units: times are in milliseconds, memory in pages of 4 KiB, self without what an import
// has imported itself. Nothing here does input or output. Locks: none.
package imports

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of a record.
const (
	MaxModules       = 2048 // the driver counts those beyond 2000
	MaxDistributions = 1024
	maxRequires      = 256 // of one distribution
	maxName          = 200 // characters of a module's name
	maxPin           = 128 // bytes of a distribution's name, or of its version
	maxAnswer        = 2 << 20
	maxMicros        = 3600 * 1e6 // no load may take an hour
	maxPages         = 1 << 32
)

// Record is what a load has imported.
type Record struct {
	Summary
	// Modules are in the order in which their imports were complete: what one needs is
	// before it.
	Modules []Module `json:"modules"`
	// LaterModules are those of Later, likewise, the first run's first.
	LaterModules []Module `json:"later_modules,omitempty"`
}

// Summary is a Record without its modules.
type Summary struct {
	Distributions []Distribution `json:"distributions"`
	ModuleCount   int            `json:"module_count"`
	LeftOut       int            `json:"left_out,omitempty"` // modules beyond the bounds
	MS            float64        `json:"ms"`                 // of all
	Pages         int64          `json:"pages"`              // of all
	// Later is what the handler has imported at its first runs; nil: none was looked at.
	Later *Later `json:"later,omitempty"`
}

// Distribution is an installed package, in the terms of importlib.metadata.
type Distribution struct {
	Name    string  `json:"name"`
	Version string  `json:"version"`
	MS      float64 `json:"ms"`       // of its modules, self
	TotalMS float64 `json:"total_ms"` // with what they imported of others
	Pages   int64   `json:"pages"`    // self
	Modules int     `json:"module_count"`
	// Needs are those of the record that it requires, or has imported, as NAME==VERSION.
	Needs []string `json:"needs,omitempty"`
}

// Pin is NAME==VERSION.
func (d *Distribution) Pin() string { return d.Name + "==" + d.Version }

// Module is an imported module.
type Module struct {
	Name         string  `json:"name"`
	Distribution string  `json:"distribution,omitempty"` // NAME==VERSION; "" where it is the runtime's own
	Function     bool    `json:"function,omitempty"`     // it is the function's own
	MS           float64 `json:"ms"`                     // self
	TotalMS      float64 `json:"total_ms"`
	Pages        int64   `json:"pages"` // self; less than 0 where it gave some back
}

// Who a row is of that no distribution has; the driver's constants.
const (
	ofRuntime  = -1
	ofFunction = -2
)

// row is a module as the driver tells it.
type row struct {
	name            string
	of              int // index of distributions, or one of the above
	depth           int // of imports around it
	selfUS, totalUS int64
	pages           int64
}

// UnmarshalJSON reads the list [name, of, depth, self, total, pages].
func (r *row) UnmarshalJSON(b []byte) error {
	list := []any{&r.name, &r.of, &r.depth, &r.selfUS, &r.totalUS, &r.pages}
	want := len(list)
	if err := json.Unmarshal(b, &list); err != nil {
		return err
	}
	if len(list) != want {
		return fmt.Errorf("an import has %d fields, want %d", len(list), want)
	}
	return nil
}

// answer is what a driver says, the JSON of a DONE that answers LOAD, or the WATCH that ends
// one:
//
//	{distributions: [{name, version, requires: [name]}], left_out,
//	 imports: [[module, index of distributions or -1 or -2, depth, us self, us, pages self]]}
type answer struct {
	Distributions []struct {
		Name     string   `json:"name"`
		Version  string   `json:"version"`
		Requires []string `json:"requires"`
	} `json:"distributions"`
	Imports []row `json:"imports"`
	LeftOut int   `json:"left_out"`
}

// Decode reads the answer of a driver to LOAD or WATCH. It is nil if that says nothing of imports,
// which drivers of other runtimes, and older ones, do not. What is out of bounds is
// refused as a whole.
func Decode(payload []byte) (*Record, error) {
	if len(payload) > maxAnswer {
		return nil, fmt.Errorf("what a load imported takes %d bytes, at most %d", len(payload), maxAnswer)
	}
	var a answer
	d := json.NewDecoder(bytes.NewReader(payload))
	err := d.Decode(&a)
	if err == nil {
		if _, after := d.Token(); !errors.Is(after, io.EOF) {
			err = errors.New("text after the JSON value")
		}
	}
	if err == nil {
		err = a.check()
	}
	if err != nil {
		return nil, fmt.Errorf("what a load imported: %w", err)
	}
	if len(a.Imports) == 0 {
		return nil, nil
	}
	return a.record(), nil
}

func (a *answer) check() error {
	if len(a.Imports) > MaxModules || len(a.Distributions) > MaxDistributions || a.LeftOut < 0 {
		return fmt.Errorf("%d modules (at most %d) of %d distributions (at most %d), %d left out", len(a.Imports), MaxModules, len(a.Distributions), MaxDistributions, a.LeftOut)
	}
	known := map[string]bool{}
	for _, d := range a.Distributions {
		pin := d.Name + "==" + d.Version
		switch {
		case !validPin(d.Name, "") || !validPin(d.Version, "!+"):
			return fmt.Errorf("distribution %.80q is not NAME==VERSION", pin)
		case known[pin]:
			return fmt.Errorf("distribution %s is there twice", pin)
		case len(d.Requires) > maxRequires:
			return fmt.Errorf("distribution %s requires %d others, at most %d", pin, len(d.Requires), maxRequires)
		}
		known[pin] = true
	}
	for _, r := range a.Imports {
		switch {
		case !validModule(r.name):
			return fmt.Errorf("module %.80q is not a name of 1 to %d characters", r.name, maxName)
		case r.of < ofFunction || r.of >= len(a.Distributions):
			return fmt.Errorf("module %s is of distribution %d of %d", r.name, r.of, len(a.Distributions))
		case r.depth < 0 || r.depth > 1<<20:
			return fmt.Errorf("module %s is at depth %d", r.name, r.depth)
		case min(r.selfUS, r.totalUS) < 0 || max(r.selfUS, r.totalUS) > maxMicros:
			return fmt.Errorf("module %s took %d of %d microseconds", r.name, r.selfUS, r.totalUS)
		case r.pages < -maxPages || r.pages > maxPages:
			return fmt.Errorf("module %s took %d pages", r.name, r.pages)
		}
	}
	return nil
}

// validPin reports whether a name or a version has the characters that PEP 508 and PEP
// 440 give it.
func validPin(s, more string) bool {
	alphanumeric := func(r rune) bool { return r < utf8.RuneSelf && (unicode.IsLetter(r) || unicode.IsDigit(r)) }
	other := func(r rune) bool { return !alphanumeric(r) && !strings.ContainsRune("._-"+more, r) }
	return s != "" && len(s) <= maxPin && alphanumeric(rune(s[0])) && !strings.ContainsFunc(s, other)
}

// validModule reports whether a name is one of letters, digits, underscores and dots, of
// whatever script.
func validModule(s string) bool {
	other := func(r rune) bool {
		return !unicode.In(r, unicode.Letter, unicode.Digit, unicode.Mark, unicode.Number) && r != '_' && r != '.' && r != '-'
	}
	return s != "" && utf8.RuneCountInString(s) <= maxName && utf8.ValidString(s) && !strings.ContainsFunc(s, other)
}

func ms(us int64) float64 { return float64(us) / 1000 }

// record sums up by distribution.
func (a *answer) record() *Record {
	r := &Record{Summary: Summary{ModuleCount: len(a.Imports), LeftOut: a.LeftOut}}
	all := make([]Distribution, len(a.Distributions))
	needs := make([]map[int]bool, len(all))
	for i, d := range a.Distributions {
		all[i], needs[i] = Distribution{Name: d.Name, Version: d.Version}, map[int]bool{}
	}
	// An import is complete after those below it: read from the end, each comes before
	// what it has imported. around are the distributions of the imports around a row.
	var around []int
	ends := make([]int, len(all)) // where a distribution's first import, from the end, stands
	for n := len(a.Imports) - 1; n >= 0; n-- {
		m := &a.Imports[n]
		around = around[:min(m.depth, len(around))]
		if m.of >= 0 {
			d := &all[m.of]
			if d.Modules == 0 {
				ends[m.of] = n
			}
			d.Modules++
			d.MS += ms(m.selfUS)
			d.Pages += m.pages
			if !slices.Contains(around, m.of) {
				d.TotalMS += ms(m.totalUS)
			}
			if parent := nearest(around); parent >= 0 && parent != m.of {
				needs[parent][m.of] = true
			}
		}
		around = append(around, m.of)
		r.MS += ms(m.selfUS)
		r.Pages += m.pages
	}
	byName := map[string]int{}
	for i := range all {
		byName[Canonical(all[i].Name)] = i
	}
	for i, d := range a.Distributions {
		for _, name := range d.Requires {
			if other, ok := byName[Canonical(name)]; ok && other != i {
				needs[i][other] = true
			}
		}
	}
	order := make([]int, 0, len(all))
	for i := range all {
		for other := range needs[i] {
			all[i].Needs = append(all[i].Needs, all[other].Pin())
		}
		slices.Sort(all[i].Needs)
		if all[i].Modules > 0 {
			order = append(order, i)
		}
	}
	slices.SortFunc(order, func(x, y int) int { return ends[x] - ends[y] })
	r.Distributions = make([]Distribution, 0, len(order))
	for _, i := range order {
		r.Distributions = append(r.Distributions, all[i])
	}
	r.Modules = make([]Module, len(a.Imports))
	for i, m := range a.Imports {
		told := Module{Name: m.name, Function: m.of == ofFunction, MS: ms(m.selfUS), TotalMS: ms(m.totalUS), Pages: m.pages}
		if m.of >= 0 {
			told.Distribution = all[m.of].Pin()
		}
		r.Modules[i] = told
	}
	return r
}

// nearest returns the innermost distribution of the imports around one, -1 if there is none.
func nearest(around []int) int {
	for _, of := range slices.Backward(around) {
		if of >= 0 {
			return of
		}
	}
	return -1
}

// Canonical is a distribution's name for comparing, as PEP 503 has it.
func Canonical(name string) string {
	return strings.ToLower(strings.NewReplacer("_", "-", ".", "-").Replace(name))
}
