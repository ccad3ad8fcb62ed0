package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"
)

// workers bounds the generator: so many requests are under way at most. What the
// rate asks for beyond that is not sent, and "sent/s" shows it.
const workers = 512

func (l *load) mixed() error {
	fmt.Printf("deploying %d functions\n", l.functions)
	for n := range l.functions {
		b, status, err := l.call("PUT", fmt.Sprintf("/v1/functions/load-%d", n), functionSpec(n, l.work))
		if err != nil || status != http.StatusCreated {
			return fmt.Errorf("deploy: status %d, %v: %.200s", status, err, b)
		}
	}
	pooled, err := l.pooled()
	if err != nil {
		return err
	}
	alone, err := l.sustainable(func(int64) func() int { return func() int { return 0 } })
	if err != nil {
		return err
	}
	before := l.counts()
	rate, err := l.sustainable(l.zipf)
	if err != nil {
		return err
	}
	fmt.Printf("closed loop of 8 clients: %.0f invocations per second; 1x is 80 %% of it\n", rate)
	l.counts().report(before)
	half, err := l.attack(0.625, int(rate/2), min(l.duration, 20*time.Second))
	if err != nil {
		return err
	}
	runs := []*attack{half}
	for n, factor := range l.rates {
		d := l.duration
		if n > 0 {
			d = min(d, max(d/10, 20*time.Second))
		}
		a, err := l.attack(factor, int(rate*0.8*factor), d)
		if err != nil {
			return err
		}
		runs = append(runs, a)
	}
	report(runs)
	return l.bars(pooled, rate, alone, half, runs[len(runs)-1])
}

// sustainable measures a closed loop of clients that each choose functions by its own
// generator.
func (l *load) sustainable(chooser func(seed int64) func() int) (float64, error) {
	const clients = 8
	var served atomic.Int64
	var failure atomic.Pointer[error]
	work := func(d time.Duration) {
		var wg sync.WaitGroup
		end := time.Now().Add(d)
		for c := range clients {
			wg.Go(func() {
				next := chooser(int64(c))
				for time.Now().Before(end) {
					b, status, err := l.call("POST", fmt.Sprintf("/v1/functions/load-%d/invoke", next()), event)
					if err == nil && status != http.StatusOK {
						err = fmt.Errorf("status %d: %.200s", status, b)
					}
					if err != nil {
						failure.Store(&err)
						return
					}
					served.Add(1)
				}
			})
		}
		wg.Wait()
	}
	work(2 * time.Second) // pools fill
	served.Store(0)
	start := time.Now()
	work(5 * time.Second)
	if err := failure.Load(); err != nil {
		return 0, *err
	}
	return float64(served.Load()) / time.Since(start).Seconds(), nil
}

// attack is what came of holding one rate, open loop.
type attack struct {
	factor                        float64
	took                          time.Duration
	sent, served, refused, failed int
	failure                       string // the first
	latencies                     map[string][]time.Duration
	rss                           [3]uint64 // MiB of the daemon: at the start, in the middle, at the end
	cpu                           usage
}

func (l *load) attack(factor float64, rate int, d time.Duration) (*attack, error) {
	next := l.zipf(99)
	body, err := json.Marshal(event)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	target := func(t *vegeta.Target) error {
		mu.Lock()
		defer mu.Unlock()
		*t = vegeta.Target{Method: "POST", URL: fmt.Sprintf("%s/v1/functions/load-%d/invoke", l.url, next()), Body: body, Header: l.header}
		return nil
	}
	a := &attack{factor: factor, latencies: map[string][]time.Duration{}}
	attacker := vegeta.NewAttacker(vegeta.Timeout(time.Minute), vegeta.MaxWorkers(workers), vegeta.Connections(workers))
	before, start := l.usage(), time.Now()
	a.rss[0] = rss(l.pid)
	middle := time.AfterFunc(d/2, func() { a.rss[1] = rss(l.pid) })
	for r := range attacker.Attack(target, vegeta.Rate{Freq: rate, Per: time.Second}, d, "mixed") {
		a.add(r)
	}
	middle.Stop()
	a.took = time.Since(start)
	a.rss[2] = rss(l.pid)
	a.cpu = l.usage().since(before, a.took)
	return a, nil
}

// add counts one answer.
func (a *attack) add(r *vegeta.Result) {
	a.sent++
	var result struct {
		Path   string          `json:"path"`
		Pooled bool            `json:"pooled"`
		Error  json.RawMessage `json:"error"`
	}
	switch {
	case r.Code == http.StatusTooManyRequests:
		a.refused++
		a.latencies["refused"] = append(a.latencies["refused"], r.Latency)
		return
	case r.Code != http.StatusOK:
	case json.Unmarshal(r.Body, &result) == nil && result.Error == nil:
		a.served++
		path := result.Path
		if result.Pooled {
			path += ", machine ready"
		}
		a.latencies[path] = append(a.latencies[path], r.Latency)
		a.latencies[allServed] = append(a.latencies[allServed], r.Latency)
		return
	}
	a.failed++
	if a.failure == "" {
		a.failure = fmt.Sprintf("status %d, %s %.300s", r.Code, r.Error, r.Body)
	}
}

// allServed sums up the start paths.
const allServed = "all served"

// report prints two tables in the form of SPECIFICATION.md's.
func report(runs []*attack) {
	fmt.Print("\n| rate | seconds | sent/s | served/s | refused | failed | p50 | p99 | p99.9 | CPUs: daemon, guests, generator | RSS of the daemon, MiB: start, middle, end |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|---|---|\n")
	for _, a := range runs {
		s, d := a.took.Seconds(), a.latencies[allServed]
		slices.Sort(d)
		fmt.Printf("| %gx | %.0f | %.0f | %.0f | %.1f %% | %d | %s | %s | %s | %.2f, %.2f, %.2f | %d, %d, %d |\n", a.factor, s, float64(a.sent)/s, float64(a.served)/s,
			100*float64(a.refused)/float64(max(a.sent, 1)), a.failed, at(d, 0.5), at(d, 0.99), at(d, 0.999), a.cpu.daemon, a.cpu.guests, a.cpu.generator, a.rss[0], a.rss[1], a.rss[2])
	}
	fmt.Print("\n| rate | start path | n | p50 | p99 | p99.9 |\n|---|---|---:|---:|---:|---:|\n")
	for _, a := range runs {
		for _, path := range slices.Sorted(keys(a.latencies)) {
			if path == allServed {
				continue
			}
			d := a.latencies[path]
			slices.Sort(d)
			fmt.Printf("| %gx | %s | %d | %s | %s | %s |\n", a.factor, path, len(d), at(d, 0.5), at(d, 0.99), at(d, 0.999))
		}
	}
	for _, a := range runs {
		if a.failed > 0 {
			fmt.Fprintf(os.Stderr, "load: at %gx %d failed, the first with %s\n", a.factor, a.failed, strings.TrimSpace(a.failure))
		}
	}
}

func keys(m map[string][]time.Duration) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// at is a quantile of sorted durations.
func at(d []time.Duration, q float64) string {
	if len(d) == 0 {
		return "-"
	}
	v := d[min(int(q*float64(len(d))), len(d)-1)]
	return fmt.Sprintf("%.2f ms", float64(v)/float64(time.Millisecond))
}
