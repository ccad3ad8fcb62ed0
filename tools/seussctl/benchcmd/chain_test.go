package benchcmd

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// TestChainReport: ratios are of the medians of what they name, and each says whether it is met.
func TestChainReport(t *testing.T) {
	ms := func(n ...int) (list []time.Duration) {
		for _, n := range n {
			list = append(list, time.Duration(n)*time.Millisecond)
		}
		return list
	}
	w := &chainWork{BenchWork: &BenchWork{platform: "some"}, exits: 700, calls: 200, samples: map[string][]time.Duration{
		"pooled": ms(1, 2, 9), "call": ms(4, 4, 4), "call, caller parked": ms(20), "100 in a row": ms(400), "100 zygote's children in a row": ms(1000),
		"1,000 at once": ms(100), "1,000 zygote's children at once": ms(1000),
	}}
	r := w.report()
	for i, want := range []float64{2, 10, 0.4, 0.1} {
		if r.Bars[i].Measured != want {
			t.Errorf("%+v, want %g", r.Bars[i], want)
		}
	}
	var b bytes.Buffer
	if err := printChain(&b, r); err != nil {
		t.Fatal(err)
	}
	if text := b.String(); !strings.Contains(text, "ON some") || !strings.Contains(text, "left 3.5 times a call") || strings.Count(text, "yes\n") != 2 || strings.Count(text, "no\n") != 2 {
		t.Errorf("%s", text)
	}
}

// TestStateReport: what was not measured has no ratio; exits are those of an operation.
func TestStateReport(t *testing.T) {
	us := func(n int) []time.Duration { return []time.Duration{time.Duration(n) * time.Microsecond} }
	w := &stateWork{samples: map[string][]time.Duration{
		"get": us(10), "get, Redis natively": us(100), "set": us(30), "set, Redis from a function": us(60), openRegion: us(2000),
	}, exits: map[string][]uint64{"get": {0, 0, 200}, "set": {stateOps, 2 * stateOps, 3 * stateOps}}}
	r := w.sumUp()
	if len(r.Bars) != 3 || r.Bars[0].Measured != 0.1 || r.Bars[0].Limit != 0.2 || r.Bars[1].Measured != 0.5 || r.Bars[2].Measured != 2 {
		t.Errorf("%+v", r.Bars)
	}
	if r.Exits["get"] != 0 || r.Exits["set"] != 2 {
		t.Errorf("%v", r.Exits)
	}
	var b bytes.Buffer
	if err := printState(&b, r); err != nil || !strings.Contains(b.String(), "2.00 times") {
		t.Errorf("%v\n%s", err, b.String())
	}
}
