package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// bars prints what a release is measured by: ratios of figures of this run.
func (l *load) bars(pooled time.Duration, rate, alone float64, half, most *attack) error {
	fork, err := zygoteAlone()
	if err != nil {
		return err
	}
	share := func(rate float64) float64 { return rate * pooled.Seconds() / float64(runtime.NumCPU()) }
	fmt.Printf("\nan invocation on a machine that stands ready takes %v in the daemon, a zygote's %v (p50, one at a time)\n\n", pooled, fork)
	fmt.Print("| | bar | here |\n|---|---|---:|\n")
	fmt.Printf("| closed-loop rate × pooled p50 / processors, %d functions (%.0f/s) | ≥ 0.30 | %.2f |\n", l.functions, rate, share(rate))
	fmt.Printf("| the same with one function (%.0f/s) | ≥ 0.40 | %.2f |\n", alone, share(alone))
	fmt.Printf("| p99 at half of the closed-loop rate / the zygote's p50 | ≤ 5 | %.1f |\n", quantile(half.latencies[allServed], 0.99).Seconds()/fork.Seconds())
	fmt.Printf("| p99 of what is served at %gx | ≤ 500 ms | %s |\n", most.factor, at(most.latencies[allServed], 0.99))
	return nil
}

// pooled is what an invocation takes in the daemon on a machine that stands ready, at the
// median of one after the other.
func (l *load) pooled() (time.Duration, error) {
	var took []time.Duration
	for range 300 {
		b, status, err := l.call("POST", "/v1/functions/load-0/invoke", event)
		if err != nil || status != http.StatusOK {
			return 0, fmt.Errorf("status %d, %v: %.200s", status, err, b)
		}
		var r struct {
			Pooled  bool `json:"pooled"`
			Timings struct {
				Total time.Duration `json:"total_ns"`
			} `json:"timings"`
		}
		if err := json.Unmarshal(b, &r); err != nil {
			return 0, err
		}
		if r.Pooled {
			took = append(took, r.Timings.Total)
		}
	}
	if len(took) == 0 {
		return 0, fmt.Errorf("no machine stood ready for any of 300 invocations")
	}
	slices.Sort(took)
	return quantile(took, 0.5), nil
}

// zygoteAlone is what the zygote takes for a request, at the median of one after the
// other.
func zygoteAlone() (time.Duration, error) {
	stop, address, err := startZygote()
	if err != nil {
		return 0, err
	}
	defer stop()
	var took []time.Duration
	for k := range 100 {
		start := time.Now()
		if err := askZygote(address, k); err != nil {
			return 0, err
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	return quantile(took, 0.5), nil
}

// quantile is one of sorted durations, 0 of none.
func quantile(d []time.Duration, q float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	return d[min(int(q*float64(len(d))), len(d)-1)]
}

// counts are the daemon's counters, by their name in its metrics.
type counts map[string]float64

// counted are those that say what an invocation costs, as the report calls them.
var counted = [][2]string{
	{`seuss_restored_pages_total{what="copied"}`, "pages copied"},
	{`seuss_restored_pages_total{what="compared"}`, "pages compared"},
	{`seuss_restored_pages_total{what="mapped"}`, "pages mapped"},
	{`seuss_map_calls_total`, "calls that map"},
	{`seuss_host_faults_total`, "host page faults"},
}

// counts reads them; there are none where the daemon does not give them.
func (l *load) counts() counts {
	c := counts{}
	b, status, err := l.call("GET", "/metrics", nil)
	if err != nil || status != http.StatusOK {
		return c
	}
	for line := range strings.Lines(string(b)) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "} ")
		if ok {
			name += "}"
		} else {
			name, value, _ = strings.Cut(strings.TrimSpace(line), " ")
		}
		if v, err := strconv.ParseFloat(value, 64); err == nil {
			c[name] = v
			if family, _, labelled := strings.Cut(name, "{"); labelled {
				c[family] += v
			}
		}
	}
	return c
}

// report prints what each invocation since before has cost.
func (c counts) report(before counts) {
	const invocations = "seuss_invocations_total"
	n := max(c[invocations]-before[invocations], 1)
	text := "an invocation cost"
	for i, of := range counted {
		if i > 0 {
			text += ","
		}
		text += fmt.Sprintf(" %.1f %s", (c[of[0]]-before[of[0]])/n, of[1])
	}
	fmt.Println(text)
}
