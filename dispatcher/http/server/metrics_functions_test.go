package server

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// The label of functions is bounded however many there are; those of which most is asked
// have one, nothing is counted twice, and a flood of names takes nobody's label.
func TestFunctionLabels(t *testing.T) {
	var f functionCounts
	total := uint64(0)
	call := func(name string, n int) {
		for range n {
			f.invoked(name, n%2 == 0, time.Millisecond)
			total++
		}
	}
	for n := range maxLabels {
		call(fmt.Sprint("early", n), 10)
	}
	for n := range 100_000 {
		call(fmt.Sprint("flood", n), 1)
		if n%100 == 0 {
			call("busy", 20)
		}
	}
	if f.labels["busy"] == nil || len(f.labels) != maxLabels || len(f.guesses) > maxGuesses+1 {
		t.Errorf("%d labels, %d guesses, busy has %v", len(f.labels), len(f.guesses), f.labels["busy"])
	}
	for name := range f.labels {
		if name[:4] == "floo" {
			t.Errorf("%s has a label", name)
		}
	}
	call("other", 500) // a function of that name is not the others
	registry := prometheus.NewRegistry()
	registry.MustRegister(&f)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, family := range families {
		if family.GetName() == "seuss_function_invocations_total" {
			if len(family.Metric) != 2*(maxLabels+1) {
				t.Errorf("%d series", len(family.Metric))
			}
			for _, m := range family.Metric {
				sum += valueOf(m)
			}
		}
	}
	if sum > float64(total) || sum < float64(total)-100 {
		t.Errorf("%v are counted of %d", sum, total)
	}
}

func valueOf(m *dto.Metric) float64 { return m.GetCounter().GetValue() }
