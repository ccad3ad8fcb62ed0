package dispatcher

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"seuss/dispatcher/bounds"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/instance/instancetest"
	"seuss/lineage"
)

// TestRequestsAreRefusedByName: what no invocation can have is refused, and nothing of it
// is left out without a word.
func TestRequestsAreRefusedByName(t *testing.T) {
	s := newFakeService(t, &instancetest.Runtime{Handlers: map[string]instancetest.Handler{"echo": echo}}, Options{PoolSize: 1})
	s.deploy("echo", "echo", false)
	refused := func(err error, what string) {
		t.Helper()
		if !errors.Is(err, lineage.ErrInvalid) || !strings.Contains(err.Error(), what) {
			t.Errorf("%v, want %q in it", err, what)
		}
	}
	code := FunctionSpec{Name: "once", Handler: "echo.handler", Files: map[string][]byte{"f": nil}}
	for what, r := range map[string]Request{
		`from "deep"`:       {MaxPath: "deep"},
		"a timeout of -1ns": {Timeout: -1},
		"24h0m0s":           {Timeout: bounds.MaxTimeout + 1},
		"2562047h":          {Timeout: math.MaxInt64},
	} {
		r.Function, r.Event = "echo", []byte("1")
		_, err := s.Invoke(t.Context(), r)
		refused(err, what)
		_, err = s.RunOnce(t.Context(), code, r)
		refused(err, what)
	}
	s.want(Request{Function: "echo", Event: []byte("1"), Timeout: bounds.MaxTimeout}, "[1,0]")
	for what, r := range map[string]Request{
		`from "function"`: {MaxPath: PathFunction},
		`from "argument"`: {MaxPath: PathArgument},
		"explain":         {Explain: true},
		"auto_arguments":  {AutoArguments: true},
	} {
		r.Event = []byte("1")
		_, err := s.RunOnce(t.Context(), code, r)
		refused(err, what)
	}
	two := 2
	for what, change := range map[string]func(*FunctionSpec){
		"warm_up":     func(spec *FunctionSpec) { spec.WarmUp = append(spec.WarmUp, []byte("1")) },
		"create":      func(spec *FunctionSpec) { spec.Create = true },
		"revision":    func(spec *FunctionSpec) { spec.Revision = "x" },
		"concurrency": func(spec *FunctionSpec) { spec.Settings.Concurrency = &two },
	} {
		spec := code
		change(&spec)
		_, err := s.RunOnce(t.Context(), spec, Request{Event: []byte("1")})
		refused(err, what)
	}
	for _, path := range []StartPath{"", PathBase, PathCold} {
		r, err := s.RunOnce(t.Context(), code, Request{Event: []byte("7"), MaxPath: path, Memory: true})
		if want := map[bool]StartPath{true: PathCold, false: PathBase}[path == PathCold]; err != nil || r.Path != want || string(r.Output) != "[7,0]" {
			t.Errorf("from %q: %+v, %v", path, r, err)
		}
	}
	minus := -1
	_, err := s.Deploy(t.Context(), FunctionSpec{Name: "limited", Handler: "echo.handler", Files: code.Files, Settings: functions.Settings{Concurrency: &minus}})
	refused(err, "a concurrency of -1")
	_, err = s.Configure("echo", "", func(set *functions.Settings) { set.Concurrency = &minus })
	refused(err, "a concurrency of -1")
}

// TestImportsAreBounded: a chain of imports has an end, and each of them a name.
func TestImportsAreBounded(t *testing.T) {
	s := newFakeService(t, &instancetest.Runtime{Handlers: map[string]instancetest.Handler{"echo": echo}}, Options{PoolSize: 1})
	for what, modules := range map[string][]string{
		fmt.Sprintf("%d imports", MaxImports+1): slices.Repeat([]string{"x"}, MaxImports+1),
		`import ""`:                             {""},
		"is not of 1 to":                        {strings.Repeat("x", maxImportBytes+1)},
	} {
		_, err := s.Import(t.Context(), "", "", modules)
		_, err2 := s.Deploy(t.Context(), FunctionSpec{Name: "f", Handler: "echo.handler", Files: map[string][]byte{"f": nil}, Imports: modules})
		for _, err := range []error{err, err2} {
			if !errors.Is(err, lineage.ErrInvalid) || !strings.Contains(err.Error(), what) {
				t.Errorf("%v, want %q in it", err, what)
			}
		}
	}
}

// TestLongestTime: where nothing bounds an invocation's time a day does.
func TestLongestTime(t *testing.T) {
	var f bounds.Function
	for asked, want := range map[time.Duration]time.Duration{0: DefaultTimeout, time.Hour: time.Hour, math.MaxInt64: bounds.MaxTimeout} {
		if got := f.Time(asked); got != want {
			t.Errorf("asked for %v: %v", asked, got)
		}
	}
}

// TestBindings: what a key is bound to is found out once, and only where it may be
// captured.
func TestBindings(t *testing.T) {
	s := newFakeService(t, &instancetest.Runtime{Handlers: map[string]instancetest.Handler{"slowly": slowly}}, Options{PoolSize: 1})
	s.deploy("lazy", "slowly", true)
	r := ask("lazy", `{"rows": [ 1, 2 ], "how": 3}`)
	for _, auto := range []bool{false, true} {
		r.AutoArguments = auto
		run, err := s.Dispatcher.Run(t.Context(), &r)
		if err != nil || run.Result().Error != nil {
			t.Fatalf("%v, %v", run, err)
		}
		i := run.(*invocation)
		if want := map[bool]int{true: 2}[auto]; len(i.event.bound) != want || len(i.bound) != want || i.answers != 2 {
			t.Errorf("captured by itself %v: bound to %+v, %+v, %d answers", auto, i.event.bound, i.bound, i.answers)
		}
		run.End(true)
	}
	e, err := parseEvent([]byte(`{"rows": [ 1, 2 ]}`), true)
	if err != nil {
		t.Fatal(err)
	}
	if b := e.binding("rows"); b.Preview != "[1,2]" || b != e.binding("rows") {
		t.Errorf("%+v, then %+v", b, e.binding("rows"))
	}
	if n := testing.AllocsPerRun(100, func() { e.binding("rows") }); n != 0 {
		t.Errorf("it is found out again, with %v allocations", n)
	}
}
