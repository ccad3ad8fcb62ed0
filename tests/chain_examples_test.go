package tests

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"seuss/dispatcher"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/state/region"
)

// example reads a sample of a runtime's.
func example(t *testing.T, path ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(append([]string{"..", "images", "runtimes"}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// openExamples is a dispatcher with samples that call themselves, and the regions that there are.
func openExamples(t *testing.T, names ...string) (*dispatcher.Dispatcher, *region.Host) {
	t.Helper()
	if _, err := os.Stat("/usr/lib/python3/dist-packages/numpy"); err != nil {
		t.Skip("NumPy is not installed: apt-get install python3-numpy")
	}
	shared := region.New(region.Options{})
	d := openOwn(t, func(o *dispatcher.Options) { o.PoolSize, o.Regions = 2, shared })
	t.Cleanup(shared.Close)
	for _, name := range names {
		deploy(t, d, name, string(example(t, "python", "samples", name+".py")), func(s *dispatcher.FunctionSpec) {
			s.Settings.Calls, s.Settings.Shares, s.Settings.TimeoutSec = []string{name}, []string{"ranks:rw", "sgd:rw"}, 120
		})
	}
	return d, shared
}

// TestExampleWordCount: the words of a text of several parts are counted as a single pass does.
func TestExampleWordCount(t *testing.T) {
	t.Parallel()
	d, _ := openExamples(t, "word_count")
	words, want := strings.Fields("Lorem ipsum dolor sit amet consetetur sadipscing elitr sed diam nonumy eirmod tempor Straße"), map[string]int{}
	random := rand.New(rand.NewPCG(1, 2))
	var text strings.Builder
	for text.Len() < 300_000 {
		word := words[int(float64(len(words))*random.Float64()*random.Float64())]
		want[strings.ToLower(word)]++
		text.WriteString(word + []string{" ", ", ", "\n"}[random.IntN(3)])
	}
	event, err := json.Marshal(map[string]any{"text": text.String(), "top": 100})
	if err != nil {
		t.Fatal(err)
	}
	if got := output[map[string]int](t, invoke(t, d, "word_count", string(event))); !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// pageRank is the power iteration, straight from its definition.
func pageRank(pages int, links [][2]int, steps int) []float64 {
	const damping = 0.85
	out := make([]int, pages)
	for _, l := range links {
		out[l[0]]++
	}
	ranks := slices.Repeat([]float64{1 / float64(pages)}, pages)
	for range steps {
		var lost float64
		for p, r := range ranks {
			if out[p] == 0 {
				lost += r
			}
		}
		next := slices.Repeat([]float64{(1 - damping + damping*lost) / float64(pages)}, pages)
		for _, l := range links {
			next[l[1]] += damping * ranks[l[0]] / float64(out[l[0]])
		}
		ranks = next
	}
	return ranks
}

// TestExamplePageRank: the ranks are those of the definition, and no region is left.
func TestExamplePageRank(t *testing.T) {
	t.Parallel()
	d, shared := openExamples(t, "page_rank")
	const pages, steps = 200, 15
	random := rand.New(rand.NewPCG(3, 4))
	var links [][2]int
	for from := range pages {
		for range from % 7 { // some link to nobody
			links = append(links, [2]int{from, int(pages * random.Float64() * random.Float64())})
		}
	}
	event, err := json.Marshal(map[string]any{"pages": pages, "links": links, "steps": steps, "workers": 2, "tolerance": 0})
	if err != nil {
		t.Fatal(err)
	}
	got := output[struct {
		Steps int
		Ranks []float64
	}](t, invoke(t, d, "page_rank", string(event)))
	want := pageRank(pages, links, steps)
	if len(got.Ranks) != pages || got.Steps != steps {
		t.Fatalf("%d ranks, %d steps", len(got.Ranks), got.Steps)
	}
	for page := range want {
		if math.Abs(got.Ranks[page]-want[page]) > 1e-12 {
			t.Errorf("page %d: %g, want %g", page, got.Ranks[page], want[page])
		}
	}
	if left := shared.List(functions.DefaultOwner, ""); len(left) != 0 {
		t.Errorf("%+v is left", left)
	}
}

// TestExampleSGD: workers that write to the same weights without a lock find those from which
// the matrix's targets were made, and no region is left.
func TestExampleSGD(t *testing.T) {
	t.Parallel()
	d, shared := openExamples(t, "sgd")
	got := output[struct{ Losses, Weights, Truth []float64 }](t, invoke(t, d, "sgd", `{"rows": 4000, "features": 64, "workers": 4, "epochs": 4}`))
	if len(got.Losses) != 5 || len(got.Weights) != 64 || len(got.Truth) != 64 {
		t.Fatalf("%+v", got)
	}
	if got.Losses[0] < 0.1 || got.Losses[4] > got.Losses[0]/1000 {
		t.Errorf("mean square errors %v", got.Losses)
	}
	for i, want := range got.Truth {
		if math.Abs(got.Weights[i]-want) > 0.05 {
			t.Errorf("weight %d: %g, want %g", i, got.Weights[i], want)
		}
	}
	if left := shared.List(functions.DefaultOwner, ""); len(left) != 0 {
		t.Errorf("%+v is left", left)
	}
}

// line is the least squares fit.
func line(points [][2]float64) (slope, intercept float64) {
	var x, y, xx, xy float64
	n := float64(len(points))
	for _, p := range points {
		x, y, xx, xy = x+p[0], y+p[1], xx+p[0]*p[0], xy+p[0]*p[1]
	}
	slope = (n*xy - x*y) / (n*xx - x*x)
	return slope, (y - slope*x) / n
}

// TestExamplePipeline: what one language reads another computes and the first one writes; an
// error of a stage is the caller's.
func TestExamplePipeline(t *testing.T) {
	if _, err := os.Stat("/usr/lib/python3/dist-packages/numpy"); err != nil {
		t.Skip("NumPy is not installed: apt-get install python3-numpy")
	}
	d := openNode(t)
	node := map[string][]byte{"pipeline.js": example(t, "nodejs", "samples", "pipeline.js")}
	for _, f := range []dispatcher.FunctionSpec{
		{Name: "read", Handler: "pipeline.read", Image: "node", Files: node, Settings: functions.Settings{Calls: []string{"fit"}}},
		{Name: "report", Handler: "pipeline.report", Image: "node", Files: node},
		{Name: "fit", Handler: "main.handler", Files: map[string][]byte{"main.py": example(t, "python", "samples", "fit.py")}, Settings: functions.Settings{Calls: []string{"report"}}},
	} {
		f.Settings.TimeoutSec = 120
		if _, err := d.Deploy(t.Context(), f); err != nil {
			t.Fatal(describe(err))
		}
	}
	points := [][2]float64{{0, 1.25}, {1, 2.75}, {2, 5.5}, {3, 6.75}, {4, 9.5}}
	csv := "x,y\n"
	for _, p := range points {
		csv += fmt.Sprintf("%g,%g\n", p[0], p[1])
	}
	slope, intercept := line(points)
	want := fmt.Sprintf("y = %.3f x + %.3f, of 5 points", slope, intercept)
	if got := output[struct{ Text string }](t, invoke(t, d, "read", fmt.Sprintf(`{"csv": %q}`, csv))); got.Text != want {
		t.Errorf("%q, want %q", got.Text, want)
	}
	if r := invoke(t, d, "read", `{"csv": "x,y\n1,2\n3"}`); r.Error == nil || r.Error.Type != "RangeError" || r.Error.Message != "line 3: want two numbers" {
		t.Errorf("%+v", r.Error)
	}
	if r := invoke(t, d, "read", `{"csv": "x,y\n"}`); r.Error == nil || r.Error.Type != "ValueError" {
		t.Errorf("an error two stages away: %+v", r.Error)
	}
}
