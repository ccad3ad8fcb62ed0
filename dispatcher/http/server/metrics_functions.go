package server

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Bounds of the label that names functions. Those of which most is asked have one; what the
// others do is counted as that of "other".
const (
	maxLabels    = 100
	maxGuesses   = 1000 // functions without a label of which it is known how much is asked
	otherLabel   = "other"
	leastAsked   = 16      // before a function gets another one's label
	ageEvery     = 100_000 // invocations
	promoteAbove = 2       // times what is asked of the function whose label another one gets
)

var (
	functionInvocations = describe("seuss_function_invocations_total", "Invocations by function, for the 100 of which most is asked; the others together are other.", "function", "outcome")
	functionSeconds     = describe("seuss_function_seconds_total", "Time of the same, from a machine being asked for to the result.", "function")
)

// functionCount is what is counted for one label.
type functionCount struct {
	ok, failed uint64
	took       time.Duration
	asked      uint64 // lately: halved from time to time
}

// functionCounts count for each function, for a bounded number of them. A function keeps
// its label until one without has twice as much to do: its own counts begin with the
// label, and end with it.
type functionCounts struct {
	mu      sync.Mutex
	labels  map[string]*functionCount
	guesses map[string]uint64 // what is asked of those without a label, lately
	other   functionCount
	since   int // invocations since the last aging
}

func (f *functionCounts) invoked(name string, ok bool, took time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.since++; f.since >= ageEvery {
		f.since = 0
		f.age()
	}
	c := f.labels[name]
	if c == nil {
		c = f.label(name)
	}
	c.asked++
	c.took += took
	if ok {
		c.ok++
	} else {
		c.failed++
	}
}

// label gives a function a label if there is one left, or if it has earned another one's;
// else its counts are the others'. mu is held.
func (f *functionCounts) label(name string) *functionCount {
	if f.labels == nil {
		f.labels, f.guesses = map[string]*functionCount{}, map[string]uint64{}
	}
	if len(f.labels) >= maxLabels {
		n := f.guesses[name] + 1
		if n == 1 && len(f.guesses) >= maxGuesses {
			for other := range f.guesses { // whoever it hits: who has much to do comes again
				delete(f.guesses, other)
				break
			}
		}
		f.guesses[name] = n
		if n < leastAsked || n&(n-1) != 0 { // looked at now and then
			return &f.other
		}
		least := ""
		for other, c := range f.labels {
			if least == "" || c.asked < f.labels[least].asked {
				least = other
			}
		}
		if n <= promoteAbove*f.labels[least].asked {
			return &f.other
		}
		f.guesses[least] = f.labels[least].asked
		delete(f.labels, least)
	}
	c := &functionCount{asked: f.guesses[name]}
	delete(f.guesses, name)
	f.labels[name] = c
	return c
}

// age halves what was asked lately, and forgets of whom that is nothing. mu is held.
func (f *functionCounts) age() {
	for name, n := range f.guesses {
		if n /= 2; n == 0 {
			delete(f.guesses, name)
		} else {
			f.guesses[name] = n
		}
	}
	for _, c := range f.labels {
		c.asked /= 2
	}
}

// Describe implements prometheus.Collector; it leaves the collector unchecked.
func (f *functionCounts) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (f *functionCounts) Collect(ch chan<- prometheus.Metric) {
	count := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	f.mu.Lock()
	all := make(map[string]functionCount, len(f.labels)+1)
	for name, c := range f.labels {
		all[name] = *c
	}
	all["/"+otherLabel] = f.other // no function is called so
	f.mu.Unlock()
	for name, c := range all {
		if name == "/"+otherLabel {
			name = otherLabel
		} else if name == otherLabel {
			name = "function " + otherLabel
		}
		count(functionInvocations, float64(c.ok), name, "ok")
		count(functionInvocations, float64(c.failed), name, "failed")
		count(functionSeconds, c.took.Seconds(), name)
	}
}
