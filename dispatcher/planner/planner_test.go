package planner

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"seuss/dispatcher/imports"
	"seuss/dispatcher/plan"
	"seuss/images/runtimes"
	"seuss/lineage"
)

// host is a Host without machines. Its packages are those of needs, each with one module of
// its name.
type host struct {
	sync.Mutex
	needs   map[string][]string // by package: what its import brings
	probes  []string
	made    []string
	moved   []string
	settled int
	busy    bool
	deploys []Deployed
	ms      float64                 // that functions say of each import; 0: 100
	imports map[string][]string     // by function
	fail    func(what string) error // nil: nothing fails
}

var runtime = &runtimes.Runtime{Packages: &runtimes.Packages{
	List:   func() map[string][]byte { return map[string][]byte{"list": nil} },
	Import: func(modules []string) map[string][]byte { return map[string][]byte{strings.Join(modules, " "): nil} },
	Asks:   func(files map[string][]byte) []string { return strings.Fields(string(files["asks"])) },
	Own:    func(files map[string][]byte) []string { return strings.Fields(string(files["own"])) },
}}

func (h *host) Place(image, key string) (Place, error) {
	if image == "none" {
		return Place{}, lineage.ErrNotFound
	}
	return Place{Image: image, Digest: strings.Repeat("d", 64), Key: key, Runtime: runtime}, nil
}

func (h *host) Current(Place) bool { return true }

func (h *host) Busy() bool {
	h.Lock()
	defer h.Unlock()
	return h.busy
}

func (h *host) Deployed() ([]Deployed, error) {
	h.Lock()
	defer h.Unlock()
	return slices.Clone(h.deploys), nil
}

func (h *host) Imported(name string) (*imports.Summary, error) {
	h.Lock()
	defer h.Unlock()
	s := &imports.Summary{}
	for _, n := range h.imports[name] {
		d := imports.Distribution{Name: n, Version: "1", MS: cmp.Or(h.ms, 100)}
		for _, other := range h.needs[n] {
			if other != n {
				d.Needs = append(d.Needs, other+"==1")
			}
		}
		s.Distributions = append(s.Distributions, d)
	}
	return s, nil
}

func (h *host) Function(name string) (Place, *Function, error) {
	at, err := h.Place("i", "")
	asks, own, _ := strings.Cut(name, "|")
	return at, &Function{Name: name, Files: map[string][]byte{"asks": []byte(asks), "own": []byte(own)}}, err
}

func (h *host) failure(what string) error {
	if h.fail == nil {
		return nil
	}
	return h.fail(what)
}

func (h *host) Probe(ctx context.Context, p Place, of Probe) (*imports.Record, json.RawMessage, error) {
	h.Lock()
	defer h.Unlock()
	for name := range of.Files {
		if err := h.failure("probe " + name); err != nil {
			return nil, nil, err
		}
		h.probes = append(h.probes, name)
		if name == "list" {
			var list []runtimes.Installed
			for name := range h.needs {
				list = append(list, runtimes.Installed{Name: name, Version: "1", Modules: []string{name}})
			}
			answer, err := json.Marshal(list)
			return nil, answer, err
		}
		r := &imports.Record{}
		for _, n := range h.needs[name] {
			r.Distributions = append(r.Distributions, imports.Distribution{Name: n, Version: "1", MS: 10})
		}
		answer, err := json.Marshal(runtimes.Imported{Modules: []string{name}, Tops: h.needs[name]})
		return r, answer, err
	}
	return nil, nil, errors.New("no files")
}

func (h *host) Make(_ context.Context, _ Place, owner string, steps []Step) (bool, error) {
	h.Lock()
	defer h.Unlock()
	var text []string
	for _, s := range steps {
		text = append(text, strings.Join(s.Modules, " "))
	}
	what := strings.Join(text, " / ")
	if err := h.failure("make " + what); err != nil {
		return false, err
	}
	if owner != "" {
		what = owner + ": " + what
	}
	if slices.Contains(h.made, what) {
		return false, nil
	}
	h.made = append(h.made, what)
	return true, nil
}

func (h *host) Move(_ context.Context, name string) (bool, error) {
	h.Lock()
	defer h.Unlock()
	h.moved = append(h.moved, name)
	return true, nil
}

func (h *host) Settled() {
	h.Lock()
	defer h.Unlock()
	h.settled++
}

func tree(nodes ...string) *plan.Node {
	root := &plan.Node{Packages: []string{}, Children: []*plan.Node{}}
	for i, text := range nodes {
		n := &plan.Node{Generation: i + 1, Count: 1, Children: []*plan.Node{}}
		for name := range strings.FieldsSeq(text) {
			n.Packages = append(n.Packages, name+"==1")
		}
		root.Children = append(root.Children, n)
	}
	return root
}

type living struct {
	*testing.T
	*Planner
	h *host
}

func newLiving(t *testing.T, dir string, needs map[string][]string) living {
	t.Helper()
	store, err := lineage.Open(dir, lineage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	h := &host{needs: needs}
	return living{t, New(store, h, slog.New(slog.DiscardHandler)), h}
}

// run lets the planner work until nothing is left, or something waits.
func (l living) run() error {
	l.Helper()
	ctx, cancel := context.WithTimeout(l.Context(), time.Minute)
	defer cancel()
	done := make(chan struct{})
	go func() { defer close(done); l.Planner.Run(ctx, Hurried) }()
	err := l.Wait(ctx)
	cancel()
	<-done
	return err
}

func (l living) apply(owner string, nodes ...string) {
	l.Helper()
	if _, err := l.Apply(Ask{Which: Which{Image: "i", Owner: owner, Shared: owner == ""}, Tree: tree(nodes...)}); err != nil {
		l.Fatal(err)
	}
	if err := l.run(); err != nil {
		l.Fatal(err)
	}
}

func (l living) start(owner, asks, own string) string {
	l.Helper()
	at, _ := l.h.Place("i", "")
	var text []string
	steps, _ := l.Steps(at, &Function{Owner: owner, Files: map[string][]byte{"asks": []byte(asks), "own": []byte(own)}})
	for _, s := range steps {
		text = append(text, strings.Join(s.Modules, " "))
	}
	return strings.Join(text, " / ")
}

var someNeeds = map[string][]string{"a": {"a", "b"}, "b": {"b"}, "c": {"c"}, "e": {"e"}, "x": {"x", "b", "c"}}

// TestStarts: a function starts from the node that saves it most of those that have nothing
// beyond what it asks for, with all that this brings.
func TestStarts(t *testing.T) {
	l := newLiving(t, t.TempDir(), someNeeds)
	l.apply("", "b", "c", "a", "b c", "a e")
	for _, c := range []struct{ asks, own, want string }{
		{"", "", ""}, {"b", "", "b"}, {"b.sub", "", "b"}, {"a", "", "a"}, {"a c", "", "a"}, {"e", "", ""}, {"a e", "", "a e"},
		{"b c", "", "b c"}, {"a", "b", ""}, {"a", "a", ""}, {"b c", "b", "c"}, {"nothing", "", ""},
	} {
		if got := l.start("", c.asks, c.own); got != c.want {
			t.Errorf("asks %q, brings %q: starts from %q, want %q", c.asks, c.own, got, c.want)
		}
	}
	// What no plan names is looked at when a function asks for it.
	if got := l.start("", "x", ""); got != "" {
		t.Errorf("x, of which nothing is known, starts from %q", got)
	}
	if err := l.run(); err != nil {
		t.Fatal(err)
	}
	if got := l.start("", "x", ""); got != "b c" {
		t.Errorf("x starts from %q", got)
	}
	at, _ := l.h.Place("i", "")
	if steps, _ := l.Steps(at, &Function{Files: map[string][]byte{"asks": []byte("b")}, Environment: map[string]string{"A": "b"}}); steps != nil {
		t.Errorf("with an environment: %v", steps)
	}
	if l.h.settled == 0 || len(l.h.made) != 5 {
		t.Errorf("told %d times; made %v", l.h.settled, l.h.made)
	}
}

// TestResumes: what was found and applied outlives the process; a plan of another owner is
// nobody else's.
func TestResumes(t *testing.T) {
	dir := t.TempDir()
	l := newLiving(t, dir, someNeeds)
	l.apply("ann", "a")
	if got := l.start("bob", "a", ""); got != "" {
		t.Errorf("bob starts from %q", got)
	}
	l.nodes.Close()
	again := newLiving(t, dir, someNeeds)
	if got := again.start("ann", "a", ""); got != "a" {
		t.Errorf("after a restart ann starts from %q", got)
	}
	if err := again.run(); err != nil || len(again.h.probes) != 0 || !slices.Equal(again.h.made, []string{"ann: a"}) {
		t.Errorf("%v: looked at %v, made %v", err, again.h.probes, again.h.made)
	}
	if err := again.Drop(Which{Image: "i", Owner: "ann"}); err != nil {
		t.Fatal(err)
	}
	if err := again.Drop(Which{Image: "i", Owner: "ann"}); !errors.Is(err, lineage.ErrNotFound) {
		t.Error(err)
	}
	if again.Active() || again.start("ann", "a", "") != "" {
		t.Error("it is lived with")
	}
}

// TestTroubles: a package that cannot be imported and a node that cannot be made are named
// and left out; a full disk, or no room for a machine, is waited for.
func TestTroubles(t *testing.T) {
	l := newLiving(t, t.TempDir(), someNeeds)
	l.h.fail = func(what string) error {
		switch what {
		case "probe e":
			return errors.New("it hangs")
		case "make c":
			return errors.New("it dies")
		case "make b":
			return fmt.Errorf("write: %w", unix.ENOSPC)
		}
		return nil
	}
	if _, err := l.Apply(Ask{Which: Which{Image: "i", Shared: true}, Tree: tree("e", "c", "b", "gone")}); err != nil {
		t.Fatal(err)
	}
	if err := l.run(); err == nil || !strings.Contains(err.Error(), "no space") {
		t.Errorf("%v", err)
	}
	st := l.Status("", true)[0]
	var states []string
	for _, n := range st.Nodes {
		states = append(states, n.State)
	}
	if got := strings.Join(states, " "); got != "skipped failed left skipped" || st.Trouble == "" || len(st.Skipped) != 2 || st.Skipped[0].Why != "it hangs" || st.Nodes[1].Why != "it dies" {
		t.Errorf("%s: %+v", got, st)
	}
	if got := l.start("", "c e", ""); got != "" {
		t.Errorf("starts from %q", got)
	}
	l.h.fail = func(string) error { return ErrNoRoom }
	l.mu.Lock()
	for _, of := range l.live {
		of.after, of.trouble = time.Time{}, ""
	}
	l.mu.Unlock()
	if err := l.run(); err == nil || !strings.Contains(err.Error(), "no room") {
		t.Errorf("%v", err)
	}
	l.h.fail = nil
	l.mu.Lock()
	for _, of := range l.live {
		of.after, of.trouble = time.Time{}, ""
	}
	l.mu.Unlock()
	if err := l.run(); err != nil || !slices.Equal(l.h.made, []string{"b"}) {
		t.Errorf("%v: made %v", err, l.h.made)
	}
}

// TestStatusIn: who has no Planner is told what is applied, and that others know more.
func TestStatusIn(t *testing.T) {
	l := newLiving(t, t.TempDir(), someNeeds)
	l.apply("", "b", "c")
	list := StatusIn(l.nodes, "it is only read")
	if len(list) != 1 || len(list[0].Nodes) != 2 || list[0].Trouble != "it is only read" || list[0].Nodes[0].State != Left {
		t.Errorf("%+v", list)
	}
}

// TestRefuses: what is no plan, and files that are none, change nothing.
func TestRefuses(t *testing.T) {
	dir := t.TempDir()
	l := newLiving(t, dir, someNeeds)
	many := make([]string, MaxOwnersNodes+1)
	for i := range many {
		many[i] = fmt.Sprintf("p%d", i)
	}
	for name, ask := range map[string]Ask{
		"no tree":      {},
		"no image":     {Which: Which{Image: "none"}, Tree: tree("a")},
		"a bad tree":   {Tree: &plan.Node{Packages: []string{"a==1"}}},
		"many nodes":   {Which: Which{Owner: "ann"}, Tree: tree(many...)},
		"a cyclic one": {Tree: &plan.Node{Children: []*plan.Node{{Packages: []string{"a==1"}, Children: []*plan.Node{{Packages: []string{"a==1"}}}}}}},
	} {
		if _, err := l.Apply(ask); err == nil {
			t.Errorf("%s is applied", name)
		}
	}
	if l.Active() {
		t.Error("a plan is lived with")
	}
	l.nodes.Close()
	if err := os.MkdirAll(filepath.Join(dir, Dir), 0o700); err != nil {
		t.Fatal(err)
	}
	for i, text := range []string{"", "{", `{"format": 2}`, `{"format": 1, "nodes": [{"parent": 0, "packages": ["a==1"]}]}`, `{"format": 1, "nodes": [{"parent": -1, "packages": []}]}`} {
		if err := os.WriteFile(filepath.Join(dir, Dir, fmt.Sprint(i, planSuffix)), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if plans, err := ReadPlans(dir); len(plans) != 0 || err == nil {
		t.Errorf("%v, %v", plans, err)
	}
	if newLiving(t, dir, someNeeds).Active() {
		t.Error("a plan is lived with that cannot be read")
	}
}

// TestMany: of 50,000 functions each is moved once, and none is waited for.
func TestMany(t *testing.T) {
	l := newLiving(t, t.TempDir(), someNeeds)
	l.apply("", "b")
	at, _ := l.h.Place("i", "")
	const many = 50_000
	for range 2 {
		for n := range many {
			l.Touched(fmt.Sprintf("f%d", n), "ann", at.Digest, "")
		}
	}
	if err := l.run(); err != nil || len(l.h.moved) != many {
		t.Errorf("%v: %d functions were moved", err, len(l.h.moved))
	}
}
