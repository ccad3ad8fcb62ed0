package bench

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"seuss/tools/seussctl/samples"
)

const python = "/usr/bin/python3"

func TestPercentile(t *testing.T) {
	hundred := make([]int, 100)
	for i := range hundred {
		hundred[i] = 100 - i // unsorted
	}
	for _, c := range []struct {
		samples []int
		p       float64
		want    int
	}{
		{nil, 50, 0}, {[]int{7}, 50, 7}, {[]int{7}, 99, 7}, {[]int{3, 1, 2}, 50, 2}, {[]int{4, 3, 2, 1}, 50, 2}, {[]int{4, 3, 2, 1}, 100, 4},
		{hundred, 50, 50}, {hundred, 99, 99}, {hundred, 1, 1},
	} {
		if got := Percentile(slices.Clone(c.samples), c.p); got != c.want {
			t.Errorf("p%v of %v: %d, want %d", c.p, c.samples, got, c.want)
		}
	}
}

// The report's form is what other programs read.
func TestReportJSON(t *testing.T) {
	r := Report{
		Platform: "process",
		Rows:     []Row{NewRow("pooled", []time.Duration{52100, 61940})},
		Depth:    []Depth{NewDepth(10, []time.Duration{40 * time.Microsecond})}, FunctionNodeBytes: 409600,
	}
	got, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"platform":"process","rows":[{"path":"pooled","n":2,"p50_us":52.1,"p99_us":61.9}],"depth":[{"depth":10,"p50_us":40}],"function_node_bytes":409600}`
	if string(got) != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestMeasureTakesTurns(t *testing.T) {
	var order []string
	path := func(name string, n int) Path {
		return Path{name, n,
			func(context.Context) error { order = append(order, "prepare "+name); return nil },
			func(context.Context, func()) error { order = append(order, name); return nil },
		}
	}
	var last float64
	rows, err := Measure(t.Context(), []Path{path("a", 2), path("b", 1)}, 2, func(f float64) {
		if f <= last || f > 1 {
			t.Errorf("progress %v after %v", f, last)
		}
		last = f
	})
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Split("prepare a,a,prepare b,b,prepare a,a,a,prepare b,b,prepare a,a,a,prepare b,b", ",")
	if !slices.Equal(order, want) {
		t.Errorf("order %q", order)
	}
	if len(rows) != 2 || rows[0].N != 4 || rows[1].N != 2 || rows[1].Path != "b" || last != 1 {
		t.Errorf("%+v, progress %v", rows, last)
	}
}

func TestMeasureStops(t *testing.T) {
	boom := errors.New("boom")
	_, err := Measure(t.Context(), []Path{{Name: "bad", PerRound: 1, Run: func(context.Context, func()) error { return boom }}}, 1, nil)
	if !errors.Is(err, boom) || !strings.Contains(err.Error(), "bad") {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = Measure(ctx, []Path{{Name: "x", PerRound: 1, Run: func(context.Context, func()) error { return nil }}}, 1, nil)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestBars(t *testing.T) {
	r := &Report{
		Rows:  []Row{{"pooled", 1, 80, 900}, {"switch", 1, 300, 400}, {"zygote", 1, 1000, 2000}},
		Depth: []Depth{{1, 40}, {10, 44}, {50, 33}}, FunctionNodeBytes: 700 << 10,
	}
	var got []bool
	for _, b := range Bars(r) {
		got = append(got, b.Met())
	}
	// pooled p50, p99, switch, depth (33 is 17.5 % off), node size
	if want := []bool{true, true, false, false, false}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	r.Rows[0].P50 = 120 // of a zygote's 1000: enough for processes only
	for platform, met := range map[string]bool{"kvm-pvm": false, "process": true} {
		r.Platform = platform
		if b := Bars(r)[0]; b.Met() != met {
			t.Errorf("%s: %+v", platform, b)
		}
	}
	if bars := Bars(&Report{}); len(bars) != 0 {
		t.Errorf("bars of nothing: %+v", bars)
	}
	if bars := Bars(&Report{Rows: []Row{{"pooled", 1, 80, 900}}}); len(bars) != 0 {
		t.Errorf("bars without a zygote: %+v", bars)
	}
}

func needPython(t *testing.T) {
	t.Helper()
	if _, err := os.Stat(python); err != nil {
		t.Skipf("the baselines need %s: %v", python, err)
	}
}

const event = `{"name": "Ada", "items": [1, {"x": null}]}`

const answer = `{"greeting": "Hello, Ada!", "items": [1, {"x": null}], "count": 2}`

func TestBaselinesAnswer(t *testing.T) {
	needPython(t)
	h := Handler{python, "greet", samples.Greet, []byte(event)}
	for _, start := range []func() (Baseline, error){
		func() (Baseline, error) { return NewPythonCold(h) },
		func() (Baseline, error) { return NewZygote(t.Context(), samples.Zygote, h) },
	} {
		b, err := start()
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			got, err := b.Run(t.Context())
			if err != nil {
				t.Fatalf("%s: %v", b.Name(), err)
			}
			if same, err := SameJSON(got, []byte(answer)); err != nil || !same {
				t.Errorf("%s: %s, %v", b.Name(), got, err)
			}
		}
		if err := b.Close(); err != nil {
			t.Errorf("close %s: %v", b.Name(), err)
		}
	}
}

func TestBaselinesSayWhatIsWrong(t *testing.T) {
	needPython(t)
	bad := Handler{python, "bad", []byte("import nonsuch\n"), []byte("{}")}
	if _, err := NewZygote(t.Context(), samples.Zygote, bad); err == nil || !strings.Contains(err.Error(), "nonsuch") {
		t.Errorf("zygote: %v", err)
	}
	cold, err := NewPythonCold(bad)
	if err != nil {
		t.Fatal(err)
	}
	defer cold.Close()
	if _, err := cold.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "nonsuch") {
		t.Errorf("python-cold: %v", err)
	}
}

func TestForkExec(t *testing.T) {
	b, err := NewForkExec(t.Context(), samples.ForkExec)
	if errors.Is(err, ErrNoCompiler) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if got, err := b.Run(t.Context()); err != nil || !json.Valid(got) {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := NewForkExec(t.Context(), []byte("not C")); err == nil || !strings.Contains(err.Error(), "compile") {
		t.Errorf("no C: %v", err)
	}
	fails, err := NewForkExec(t.Context(), []byte("int main(void) { return 3; }"))
	if err != nil {
		t.Fatal(err)
	}
	defer fails.Close()
	if _, err := fails.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "3") {
		t.Errorf("exit 3: %v", err)
	}
}

func TestSameJSON(t *testing.T) {
	if same, err := SameJSON([]byte(`{"a": 1, "b": [2]}`), []byte(`{"b":[2],"a":1.0}`)); err != nil || !same {
		t.Errorf("%v %v", same, err)
	}
	if same, _ := SameJSON([]byte(`1`), []byte(`2`)); same {
		t.Error("1 is 2")
	}
	if _, err := SameJSON([]byte(`{`), []byte(`2`)); err == nil {
		t.Error("no error")
	}
}

// TestAnsweredEndsTheTime checks that tidying up is not measured.
func TestAnsweredEndsTheTime(t *testing.T) {
	const tidy = 50 * time.Millisecond
	p := Path{Run: func(_ context.Context, answered func()) error { answered(); time.Sleep(tidy); return nil }}
	start := time.Now()
	if took, err := p.Time(t.Context()); err != nil || took > time.Since(start)-tidy {
		t.Errorf("answered before %v of %v, took %v, %v", tidy, time.Since(start), took, err)
	}
	p.Run = func(context.Context, func()) error { time.Sleep(tidy); return nil }
	if took, err := p.Time(t.Context()); err != nil || took < tidy {
		t.Errorf("returned after %v, took %v, %v", tidy, took, err)
	}
}

// TestCallZygote: a process has all that it asks of a zygote answered, one after the other and
// at once.
func TestCallZygote(t *testing.T) {
	needPython(t)
	h := Handler{python, "greet", samples.Greet, []byte(`{"name": "Ada", "items": [1]}`)}
	got, err := CallZygote(t.Context(), samples.Zygote, samples.ZygoteCaller, h, 3, 20)
	if err != nil || len(got.Row) != 3 || got.AtOnce <= 0 {
		t.Errorf("%+v, %v", got, err)
	}
}
