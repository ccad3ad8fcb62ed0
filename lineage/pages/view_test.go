package pages

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"seuss/lineage/nodefile"
)

// backing is what the model knows about one page.
type backing struct {
	blob *Blob
	page uint64
}

// randomRuns makes up a delta and applies it to the model.
func randomRuns(r *rand.Rand, model []backing, blobs []*Blob) []Run {
	pages := uint64(len(model))
	var runs []Run
	for range 1 + r.IntN(12) {
		run := Run{First: r.Uint64N(pages)}
		limit := pages - run.First
		if r.IntN(4) != 0 {
			run.Blob = blobs[r.IntN(len(blobs))]
			run.Page = r.Uint64N(run.Blob.pages)
			limit = min(limit, run.Blob.pages-run.Page)
		}
		if r.IntN(3) != 0 {
			limit = min(limit, 8)
		}
		run.Count = r.Uint64N(limit + 1)
		for i := range run.Count {
			model[run.First+i] = backing{}
			if run.Blob != nil {
				model[run.First+i] = backing{run.Blob, run.Page + i}
			}
		}
		runs = append(runs, run)
	}
	return runs
}

func checkModel(t *testing.T, v *View, model []backing, r *rand.Rand) {
	t.Helper()
	for p, want := range model {
		got := v.Lookup(uint64(p))
		if got.First != uint64(p) || got.Count == 0 || got.Blob != want.blob || want.blob != nil && got.Page != want.page {
			t.Fatalf("page %d: %+v, want %v", p, got, want)
		}
		if b := v.Bytes(uint64(p)); (b == nil) != (want.blob == nil) {
			t.Fatalf("page %d: zero is %v", p, b == nil)
		} else if b != nil && &b[0] != &want.blob.Bytes(want.page)[0] {
			t.Fatalf("page %d: bytes of another page", p)
		}
	}
	first := r.Uint64N(uint64(len(model)) + 1)
	count := r.Uint64N(uint64(len(model)) - first + 1)
	next, last := first, Run{}
	for run := range v.Runs(first, count) {
		if run.First != next || run.Count == 0 {
			t.Fatalf("run %+v, expected to begin at %d", run, next)
		}
		if last.Count > 0 && last.Blob == run.Blob && (run.Blob == nil || last.Page+last.Count == run.Page) {
			t.Fatalf("runs %+v and %+v are one", last, run)
		}
		for i := range run.Count {
			want := model[run.First+i]
			if run.Blob != want.blob || run.Blob != nil && run.Page+i != want.page {
				t.Fatalf("run %+v: page %d is %v", run, run.First+i, want)
			}
		}
		next, last = run.First+run.Count, run
	}
	if next != first+count {
		t.Fatalf("runs of %d+%d end at %d", first, count, next)
	}
}

// diffBrute is Diff by looking at every page.
func diffBrute(a, b []backing) (runs [][2]uint64) {
	for p := range max(len(a), len(b)) {
		var x, y backing
		if p < len(a) {
			x = a[p]
		}
		if p < len(b) {
			y = b[p]
		}
		if x == y {
			continue
		}
		if n := len(runs); n > 0 && runs[n-1][0]+runs[n-1][1] == uint64(p) {
			runs[n-1][1]++
		} else {
			runs = append(runs, [2]uint64{uint64(p), 1})
		}
	}
	return runs
}

func checkDiff(t *testing.T, a, b *View, modelA, modelB []backing) {
	t.Helper()
	var got [][2]uint64
	for first, count := range Diff(a, b) {
		got = append(got, [2]uint64{first, count})
	}
	if want := diffBrute(modelA, modelB); !slices.Equal(got, want) {
		t.Fatalf("diff %v, want %v", got, want)
	}
}

// Random deltas over random chains to depth 50: every view must stay what it
// was when it was made, and every pair must differ where the models differ.
func TestViewModel(t *testing.T) {
	blobs := []*Blob{testBlob(t, "a", 700), testBlob(t, "b", 30), testBlob(t, "c", 1)}
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			pages := []uint64{1, 511, 1024, 1300, tablePages, tablePages + 600}[seed]
			views := []*View{NewView(pages)}
			models := [][]backing{make([]backing, pages)}
			for len(views) <= 50 {
				from := len(views) - 1
				if r.IntN(10) == 0 {
					from = r.IntN(len(views))
				}
				model := slices.Clone(models[from])
				views = append(views, views[from].With(randomRuns(r, model, blobs)))
				models = append(models, model)
			}
			step := 1 + len(models[0])/4000 // the largest guests are sampled
			for i := 0; i < len(views); i += step {
				checkModel(t, views[i], models[i], r)
				j := r.IntN(len(views))
				checkDiff(t, views[i], views[j], models[i], models[j])
			}
			checkModel(t, views[50], models[50], r)
		})
	}
}

func TestViewSharesStructure(t *testing.T) {
	blob := testBlob(t, "a", 4)
	v := NewView(4 * tablePages).With([]Run{{First: tablePages, Count: 4, Blob: blob}, {First: 3 * tablePages, Count: 1, Blob: blob}})
	w := v.With([]Run{{First: 5, Count: 1, Blob: blob}})
	if w.tables[1] != v.tables[1] || w.tables[3] != v.tables[3] || w.tables[2] != nil || v.tables[0] != nil {
		t.Error("untouched tables are not shared, or the origin changed")
	}
	same := w.With([]Run{{First: 5, Count: 1, Blob: blob}, {First: 100, Count: 900}})
	if !slices.Equal(same.tables, w.tables) {
		t.Error("a delta that changes nothing made new tables")
	}
	back := w.With([]Run{{First: 0, Count: 4 * tablePages}})
	for i, table := range back.tables {
		if table != nil {
			t.Errorf("table %d of an all-zero view is not nil", i)
		}
	}
	for first, count := range Diff(back, NewView(4*tablePages)) {
		t.Errorf("zero views differ at %d+%d", first, count)
	}
}

func TestDiffOfDifferentSizes(t *testing.T) {
	blob := testBlob(t, "a", 4)
	small, large := NewView(100), NewView(5000).With([]Run{{First: 99, Count: 3, Blob: blob}, {First: 4999, Count: 1, Blob: blob}})
	for _, views := range [][2]*View{{small, large}, {large, small}} {
		var got [][2]uint64
		for first, count := range Diff(views[0], views[1]) {
			got = append(got, [2]uint64{first, count})
		}
		if want := [][2]uint64{{99, 3}, {4999, 1}}; !slices.Equal(got, want) {
			t.Errorf("diff %v, want %v", got, want)
		}
	}
}

func TestViewPanicsOutside(t *testing.T) {
	v, blob := NewView(100), testBlob(t, "a", 4)
	for name, f := range map[string]func(){
		"Bytes":     func() { v.Bytes(100) },
		"Lookup":    func() { v.Lookup(100) },
		"Runs":      func() { v.Runs(99, 2) },
		"With":      func() { v.With([]Run{{First: 99, Count: 2}}) },
		"With blob": func() { v.With([]Run{{First: 0, Count: 2, Blob: blob, Page: 3}}) },
		"NewView":   func() { NewView(nodefile.MaxGuestPages + 1) },
		"Blob":      func() { blob.Bytes(4) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			f()
		})
	}
}

// chain stacks depth deltas of 100 scattered pages each on a 256 MiB guest. The
// second view of a pair has the same content as the last of the chain, made from
// nothing with a single delta below the last one: depth 2.
func chain(t testing.TB, depth int) (deep, flat [2]*View) {
	const pages = 1 << 16
	blob := testBlob(t, "chain", 128)
	r := rand.New(rand.NewPCG(9, 9))
	deep[0] = NewView(pages)
	var all, last []Run
	for i := range depth {
		last = make([]Run, 100)
		for i := range last {
			last[i] = Run{First: r.Uint64N(pages), Count: 1, Blob: blob, Page: r.Uint64N(128)}
		}
		slices.SortFunc(last, func(a, b Run) int { return int(a.First) - int(b.First) })
		if i == depth-1 {
			break
		}
		deep[0] = deep[0].With(last)
		all = append(all, last...)
	}
	deep[1] = deep[0].With(last)
	flat[0] = NewView(pages).With(all)
	flat[1] = flat[0].With(last)
	return deep, flat
}

func TestViewReadsAllocateNothing(t *testing.T) {
	views, _ := chain(t, 10)
	v, w, sum := views[0], views[1], uint64(0)
	if n := testing.AllocsPerRun(5, func() {
		for p := uint64(0); p < v.Pages(); p += 331 {
			sum += v.Lookup(p).Count + uint64(len(v.Bytes(p)))
		}
		for r := range v.Runs(100, 10000) {
			sum += r.Count
		}
		for first, count := range Diff(v, w) {
			sum += first + count
		}
	}); n != 0 {
		t.Errorf("%v allocations a run, want 0", n)
	}
}

// Lookup and Diff at depth 50 beside the same memory at depth 2: the ratio is
// the result, and 1 means that depth costs nothing.
func BenchmarkDepth(b *testing.B) {
	deep, flat := chain(b, 50)
	sink := uint64(0)
	measure := func(name string, f func(views *[2]*View)) {
		var perOp [2]float64
		for i, views := range []*[2]*View{&flat, &deep} {
			b.Run(fmt.Sprintf("%s/depth=%d", name, []int{2, 50}[i]), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					f(views)
				}
				perOp[i] = float64(b.Elapsed()) / float64(b.N)
				if i == 1 && perOp[0] > 0 {
					b.ReportMetric(perOp[1]/perOp[0], "x-depth-2")
				}
			})
		}
	}
	page := uint64(0)
	measure("Lookup", func(views *[2]*View) {
		page = (page + 40503) % (1 << 16)
		sink += views[1].Lookup(page).Count
	})
	measure("Diff", func(views *[2]*View) {
		for first, count := range Diff(views[0], views[1]) {
			sink += first + count
		}
	})
	_ = sink
}

// TestViewMerge: runs in ascending order, which are merged a chunk at a time, give
// what they give one by one in any order.
func TestViewMerge(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 2))
	blobs := []*Blob{nil, {name: "a", pages: 5000}, {name: "b", pages: 5000}}
	view := NewView(4 * chunkPages)
	for range 300 {
		var runs []Run
		for at := uint64(r.IntN(200)); at < view.Pages(); {
			run := Run{First: at, Count: min(uint64(r.IntN(40)*r.IntN(30)), view.Pages()-at), Blob: blobs[r.IntN(3)]}
			if run.Blob != nil {
				run.Page = uint64(r.IntN(2000))
			}
			runs = append(runs, run)
			at += run.Count + uint64(r.IntN(3)*r.IntN(120))
		}
		want := view
		for _, i := range r.Perm(len(runs)) {
			want = want.With(runs[i : i+1])
		}
		got := view.With(runs)
		for page := range view.Pages() {
			a, b := got.Lookup(page), want.Lookup(page)
			if a.Blob != b.Blob || a.Blob != nil && a.Page != b.Page {
				t.Fatalf("page %d is page %d of %v, want %d of %v", page, a.Page, a.Blob, b.Page, b.Blob)
			}
		}
		for ti, tab := range got.tables {
			for ci := range tableChunks {
				if tab != nil && want.tables[ti] != nil && !reflect.DeepEqual(tab[ci], want.tables[ti][ci]) {
					t.Fatalf("chunk %d: %+v, want %+v", ci, tab[ci], want.tables[ti][ci])
				}
			}
		}
		view = got
	}
}
