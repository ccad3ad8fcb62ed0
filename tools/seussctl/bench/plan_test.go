package bench

import (
	"context"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

func TestAtATime(t *testing.T) {
	var now, most atomic.Int64
	each, together, err := AtATime(t.Context(), 20, 3, func(context.Context, int) error {
		if n := now.Add(1); n > most.Load() {
			most.Store(n)
		}
		time.Sleep(time.Millisecond)
		now.Add(-1)
		return nil
	})
	if err != nil || len(each) != 20 || together <= 0 || slices.Min(each) <= 0 || most.Load() > 3 {
		t.Errorf("%v: %d calls, %d at a time, %v", err, len(each), most.Load(), together)
	}
	boom := errors.New("boom")
	if _, _, err := AtATime(t.Context(), 20, 3, func(_ context.Context, i int) error {
		if i == 7 {
			return boom
		}
		return nil
	}); !errors.Is(err, boom) {
		t.Errorf("%v", err)
	}
}

func TestRandomPairs(t *testing.T) {
	modules := []string{"a", "b", "c", "d"}
	one, other := RandomPairs(modules, 400, 1), RandomPairs(modules, 400, 2)
	single := 0
	for _, f := range one {
		if len(f) == 1 {
			single++
		}
	}
	if !slices.EqualFunc(one, RandomPairs(modules, 400, 1), slices.Equal) || slices.EqualFunc(one, other, slices.Equal) {
		t.Error("a trace is not its seed's")
	}
	if single < 50 || single > 150 { // a quarter: the two are chosen independently
		t.Errorf("%d of 400 import one module", single)
	}
}

func planRow(way, side string, size int, seconds float64, mib uint64) PlanRow {
	r := PlanRow{Way: way, Side: side, Size: size, Nodes: size, Memory: mib << 20}
	r.Took(make([]time.Duration, 100), time.Duration(seconds*float64(time.Second)))
	return r
}

func TestPlanBars(t *testing.T) {
	r := &PlanReport{}
	for range 2 {
		r.Add([]PlanRow{
			planRow(NoTree, InSnapshots, 1, 10, 0), planRow(NoTree, InProcesses, 1, 20, 0),
			planRow("cover", InSnapshots, 5, 5, 4), planRow("cover", InProcesses, 5, 10, 80),
			planRow("cover", InSnapshots, 11, 2, 30), planRow("cover", InProcesses, 11, 2.5, 100),
		})
	}
	if row := r.Row("cover", InSnapshots, 11); row.Calls != 200 || row.Rate != 50 {
		t.Errorf("%+v", row)
	}
	want := []struct {
		measured float64
		met      bool
	}{{1.25, false}, {10, true}, {0.3, false}, {5, true}}
	bars := PlanBars(r, "cover")
	if len(bars) != len(want) {
		t.Fatalf("%+v", bars)
	}
	for i, b := range bars {
		if b.Measured < want[i].measured*0.999 || b.Measured > want[i].measured*1.001 || b.Met() != want[i].met {
			t.Errorf("%+v, want %v", b, want[i])
		}
	}
	if bars := PlanBars(&PlanReport{}, "cover"); len(bars) != 0 {
		t.Errorf("bars of nothing: %+v", bars)
	}
	var b strings.Builder
	r.Rows[2].Way = "<cover> & more"
	if err := PlotPlans(r).WriteSVG(&b); err != nil {
		t.Fatal(err)
	}
	d, lines := xml.NewDecoder(strings.NewReader(b.String())), 0
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("%v:\n%s", err, &b)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "path" {
			lines++
		}
	}
	if lines != 2 || !strings.Contains(b.String(), "&lt;cover&gt; &amp; more, snapshots") || strings.Contains(b.String(), "NaN") {
		t.Errorf("%d lines:\n%s", lines, &b)
	}
	if err := PlotPlans(&PlanReport{}).WriteSVG(io.Discard); err != nil {
		t.Error(err)
	}
}

// TestForkTree: processes have what those above them have imported, and end with the tree.
func TestForkTree(t *testing.T) {
	needPython(t)
	script, err := os.ReadFile("../samples/zygote_tree.py")
	if err != nil {
		t.Fatal(err)
	}
	f, err := NewForkTree(t.Context(), python, script)
	if err != nil {
		t.Fatal(err)
	}
	ended := false
	defer func() {
		if !ended {
			f.Close()
		}
	}()
	above, err := f.Grow(t.Context(), 0, []string{"decimal", "there_is_no_such"})
	if err != nil {
		t.Fatal(err)
	}
	below, err := f.Grow(t.Context(), above, []string{"colorsys"})
	if err != nil {
		t.Fatal(err)
	}
	const code = "import sys\ndef handler(event, context):\n    return sorted(m for m in ('colorsys', 'decimal') if m in sys.modules)\n"
	for node, want := range map[int]string{0: `[]`, above: `["decimal"]`, below: `["colorsys", "decimal"]`} {
		_, _, err := AtATime(t.Context(), 8, 4, func(ctx context.Context, _ int) error {
			got, err := f.Run(ctx, node, []byte(code))
			if err == nil && string(got) != want {
				t.Errorf("process %d: %s, want %s", node, got, want)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	if _, err := f.Run(t.Context(), below, []byte("import there_is_no_such")); err == nil || !strings.Contains(err.Error(), "ModuleNotFoundError") {
		t.Errorf("%v", err)
	}
	if _, err := f.Run(t.Context(), below, []byte("import os; os._exit(1)")); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%v", err)
	}
	if bytes, err := f.Bytes(); err != nil || bytes == 0 || f.Len() != 3 {
		t.Errorf("%v: %d processes take %d bytes", err, f.Len(), bytes)
	}
	group := f.cmd.Process.Pid
	ended = true
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	for end := time.Now().Add(time.Minute); syscall.Kill(-group, 0) == nil; time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("processes are left")
		}
	}
	if _, err := NewForkTree(t.Context(), python, []byte("raise SystemExit('no such luck')")); err == nil {
		t.Error("it is a tree")
	}
}
