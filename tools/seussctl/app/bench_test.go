package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"seuss/dispatcher"
	"seuss/dispatcher/api"
	"seuss/images/runtimes"
	"seuss/lineage"
	"seuss/tools/seussctl/bench"
	"seuss/tools/seussctl/benchcmd"
	"seuss/tools/seussctl/cmdline"
)

// pathEngine answers as a dispatcher whose nodes all exist.
func pathEngine(answers map[string]string) *fakeEngine {
	f := &fakeEngine{}
	f.invoke = func(r dispatcher.Request) (*dispatcher.Result, error) {
		path := r.MaxPath
		if path == "" {
			path = dispatcher.PathFunction
			if strings.HasSuffix(r.Function, "lazy") || r.Function == "table" {
				path = dispatcher.PathArgument
			}
		}
		return &dispatcher.Result{Output: json.RawMessage(answers[r.Function]), Path: path, PagesDirtied: 7}, nil
	}
	return f
}

func TestBenchPaths(t *testing.T) {
	answers := map[string]string{benchcmd.BenchEager: `{"x": 1}`, benchcmd.BenchLazy: `{"x":1}`, benchcmd.BenchOther: `2`}
	w := &benchcmd.BenchWork{Answer: json.RawMessage(answers[benchcmd.BenchEager])}
	f := pathEngine(answers)
	rows, err := bench.Measure(t.Context(), w.Paths(f, f), 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range rows {
		got = append(got, r.Path)
	}
	if want := []string{"cold", "base", "function", "argument", "pooled", "switch"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	// A path that answers something else, or starts elsewhere, is no measurement.
	answers[benchcmd.BenchLazy] = `{"x": 2}`
	if _, err := bench.Measure(t.Context(), w.Paths(f, f), 1, nil); err == nil || !strings.Contains(err.Error(), "argument answers") {
		t.Errorf("wrong answer: %v", err)
	}
	f.invoke = func(dispatcher.Request) (*dispatcher.Result, error) {
		return &dispatcher.Result{Path: dispatcher.PathBase, Output: w.Answer}, nil
	}
	if _, err := bench.Measure(t.Context(), w.Paths(f, f), 1, nil); err == nil || !strings.Contains(err.Error(), "want cold") {
		t.Errorf("wrong path: %v", err)
	}
	f.invoke = func(dispatcher.Request) (*dispatcher.Result, error) {
		return &dispatcher.Result{Error: &dispatcher.FunctionError{Type: "E"}}, nil
	}
	var failed *dispatcher.FunctionError
	if _, err := bench.Measure(t.Context(), w.Paths(f, f), 1, nil); !errors.As(err, &failed) {
		t.Errorf("failing function: %v", err)
	}
}

func TestPrintBench(t *testing.T) {
	r := &bench.Report{
		Rows:  []bench.Row{{Path: "cold", N: 5, P50: 155770, P99: 176050}, {Path: "pooled", N: 1000, P50: 52.1, P99: 61.9}, {Path: "zygote", N: 250, P50: 800, P99: 1200}},
		Depth: []bench.Depth{{Depth: 1, P50: 40}, {Depth: 50, P50: 42}}, FunctionNodeBytes: 409600,
	}
	var b strings.Builder
	if err := benchcmd.PrintBench(&b, r); err != nil {
		t.Fatal(err)
	}
	const want = `PATH       N        P50        P99  P50 / ZYGOTE P50
cold       5  155.77 ms  176.05 ms               195
pooled  1000    52.1 µs    61.9 µs            0.0651
zygote   250   800.0 µs    1.20 ms                 1

LINEAGE DEPTH  RESTORE P50  RATIO TO DEPTH 1
            1      40.0 µs              1.00
           50      42.0 µs              1.05

BAR                                  MEASURED      LIMIT  MET
pooled p50 / zygote p50                 0.065    ≤ 0.100  yes
pooled p99 / zygote p50                 0.077    ≤ 1.000  yes
restore p50, deviation from depth 1     0.050    ≤ 0.150  yes
function node                         400 KiB  ≤ 600 KiB  yes
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestDemoMeasures(t *testing.T) {
	s, err := lineage.Open(t.TempDir(), lineage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	f := pathEngine(map[string]string{"table": "1"})
	f.store = s
	lazy := demoFunction{Sample: runtimes.Default().Sample("table"), name: "table"}
	var answer json.RawMessage
	for _, p := range demoPaths {
		row, err := lazy.measure(t.Context(), f, p, &answer)
		if err != nil || row.Function != "table" || row.Path != p.name || row.N != p.n || row.PagesDirtied != 7 {
			t.Errorf("%s: %+v, %v", p.name, row, err)
		}
		if f.request.Fresh != p.fresh || f.request.MaxPath != p.path {
			t.Errorf("%s: request %+v", p.name, f.request)
		}
	}
	answer = json.RawMessage("2")
	if _, err := lazy.measure(t.Context(), f, demoPaths[0], &answer); err == nil || !strings.Contains(err.Error(), "on another path 2") {
		t.Errorf("different answer: %v", err)
	}
	f.invoke = func(dispatcher.Request) (*dispatcher.Result, error) { return nil, fmt.Errorf("no machine") }
	if _, err := lazy.measure(t.Context(), f, demoPaths[0], &answer); err == nil {
		t.Error("no error")
	}
}

func TestPrintDemo(t *testing.T) {
	var b strings.Builder
	err := printDemo(&b, []demoRow{
		{Function: "a", Path: "cold", N: 2, P50: 155770, P99: 176050, PagesDirtied: 1471},
		{Function: "a", Path: "pooled", N: 100, P50: 52.1, P99: 61.9, PagesDirtied: 102, StoredBytes: 1 << 20},
		{Function: "b", Path: "cold", N: 2, P50: 1.5e6, P99: 2e6},
	})
	const want = `FUNCTION  START PATH    N        P50        P99  PAGES DIRTIED  BYTES STORED
a         cold          2  155.77 ms  176.05 ms          1,471           0 B
          pooled      100    52.1 µs    61.9 µs            102       1.0 MiB
b         cold          2     1.50 s     2.00 s              0           0 B

`
	if err != nil || b.String() != want {
		t.Errorf("%v, got\n%s\nwant\n%s", err, b.String(), want)
	}
}

// Without KVM nothing is built first: the user learns at once.
func TestNoPlatformStopsEarly(t *testing.T) {
	none := errors.New("KVM is not available: get it")
	file := writeFile(t, "x.py", "")
	for _, args := range [][]string{{"demo"}, {"bench", "start"}, {"run", file}, {"function", "deploy", "x", file}} {
		var out, errs strings.Builder
		e := cmdline.NewEnv(nil, &out, &errs)
		dir := t.TempDir()
		e.Getenv = func(name string) string {
			if name != cmdline.StateVariable {
				return ""
			}
			return dir
		}
		e.CheckPlatform = func() error { return none }
		code := run(t.Context(), e, append([]string{"seussctl"}, args...))
		if code != api.ExitFailure || out.String() != "" || errs.String() != "seussctl: "+none.Error()+"\n" {
			t.Errorf("%v: exit %d, %q, %q", args, code, out.String(), errs.String())
		}
		if list, err := e.Images().List(); err != nil || len(list) != 0 {
			t.Errorf("%v: built %v, %v", args, list, err)
		}
	}
}

// TestHugePagesFlag: the flag, else the variable, says whether dispatchers that make
// many machines use huge pages.
func TestHugePagesFlag(t *testing.T) {
	for _, c := range []struct {
		flag, variable string
		want, wrong    bool
	}{{"", "", true, false}, {"never", "auto", false, false}, {"", "never", false, false}, {"auto", "never", true, false}, {"", "yes", false, true}} {
		e := cmdline.NewEnv(nil, nil, nil)
		e.Getenv = func(string) string { return c.variable }
		if err := e.SetHugePages(c.flag); (err != nil) != c.wrong || !c.wrong && e.HugePages != c.want {
			t.Errorf("%+v: %v, %v", c, e.HugePages, err)
		}
	}
}
