// Command load puts a running daemon (seussctl serve) under load and prints what
// came of it: a mixed workload of many functions, chosen by Zipf's law, at the
// sustainable rate and beyond; and a burst of functions that were never seen,
// beside a zygote that forks for each request on the same machine.
//
// The requests of the mixed workload come from vegeta. Rates are requests per
// second, latencies those that the client sees.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"seuss/dispatcher"
	"seuss/dispatcher/api"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

// load is one run against one daemon.
type load struct {
	url       string
	functions int
	duration  time.Duration
	pid       int
	client    *http.Client
}

func run() error {
	l := &load{}
	flag.StringVar(&l.url, "url", "http://127.0.0.1:9001", "where the daemon listens")
	flag.IntVar(&l.functions, "functions", 100, "how many functions the mixed workload has")
	flag.DurationVar(&l.duration, "duration", 20*time.Second, "how long each rate is held")
	flag.IntVar(&l.pid, "pid", 0, "the daemon's process, to report its memory")
	burst := flag.Int("burst", 1000, "how many never-seen functions to invoke at once; 0: none")
	flag.Parse()
	l.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2000}}
	if l.functions > 0 {
		if err := l.mixed(); err != nil {
			return err
		}
	}
	if *burst > 0 {
		return l.burst(*burst)
	}
	return nil
}

// source is a function of the mixed workload: all are alike but for a number,
// so that differences between them are the start paths'.
func source(n int) string {
	return fmt.Sprintf("import json\nNUMBER = %d\ndef handler(event, context):\n    return {'number': NUMBER, 'keys': len(json.loads(json.dumps(event)))}\n", n)
}

func functionSpec(n int) dispatcher.FunctionSpec {
	return dispatcher.FunctionSpec{Name: fmt.Sprintf("load-%d", n), Handler: "main.handler", Files: map[string][]byte{"main.py": []byte(source(n))}}
}

func (l *load) call(method, path string, in any) ([]byte, int, error) {
	b, err := json.Marshal(in)
	if err != nil {
		return nil, 0, err
	}
	r, err := http.NewRequest(method, l.url+path, strings.NewReader(string(b)))
	if err != nil {
		return nil, 0, err
	}
	resp, err := l.client.Do(r)
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	b, err = io.ReadAll(resp.Body)
	return b, resp.StatusCode, err
}

var event = api.Invocation{Event: json.RawMessage(`{"a": 1, "b": [1, 2, 3]}`)}

// zipf chooses functions: the n-th is asked for in proportion to 1/(n+1)^1.1.
func (l *load) zipf(seed int64) func() int {
	z := rand.NewZipf(rand.New(rand.NewSource(seed)), 1.1, 1, uint64(l.functions-1))
	return func() int { return int(z.Uint64()) }
}

func (l *load) mixed() error {
	fmt.Printf("deploying %d functions\n", l.functions)
	for n := range l.functions {
		b, status, err := l.call("PUT", fmt.Sprintf("/v1/functions/load-%d", n), functionSpec(n))
		if err != nil || status != http.StatusCreated {
			return fmt.Errorf("deploy: status %d, %v: %.200s", status, err, b)
		}
	}
	rate, err := l.sustainable()
	if err != nil {
		return err
	}
	fmt.Printf("closed loop of 8 clients: %.0f invocations per second; 1x is 80 %% of it\n\n", rate)
	t := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "rate\tsent/s\tserved/s\trefused\tfailed\tstart\tn\tp50\tp99\tp99.9\tRSS MiB\t")
	for _, factor := range []float64{1, 2, 5} {
		if err := l.attack(t, factor, int(rate*0.8*factor)); err != nil {
			return err
		}
	}
	return t.Flush()
}

// sustainable measures a closed loop.
func (l *load) sustainable() (float64, error) {
	const clients = 8
	var served atomic.Int64
	var failure atomic.Pointer[error]
	work := func(d time.Duration) {
		var wg sync.WaitGroup
		end := time.Now().Add(d)
		for c := range clients {
			wg.Go(func() {
				next := l.zipf(int64(c))
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

// attack holds one rate, open loop.
func (l *load) attack(w io.Writer, factor float64, rate int) error {
	next := l.zipf(99)
	body, err := json.Marshal(event)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	target := func(t *vegeta.Target) error {
		mu.Lock()
		defer mu.Unlock()
		*t = vegeta.Target{Method: "POST", URL: fmt.Sprintf("%s/v1/functions/load-%d/invoke", l.url, next()), Body: body}
		return nil
	}
	attacker := vegeta.NewAttacker(vegeta.Timeout(time.Minute), vegeta.MaxWorkers(2000), vegeta.Connections(2000))
	latencies := map[string][]time.Duration{}
	var sent, served, refused, failed int
	start := time.Now()
	for r := range attacker.Attack(target, vegeta.Rate{Freq: rate, Per: time.Second}, l.duration, "mixed") {
		sent++
		switch r.Code {
		case http.StatusOK:
			served++
			var result dispatcher.Result
			if err := json.Unmarshal(r.Body, &result); err != nil || result.Error != nil {
				failed++
				continue
			}
			path := string(result.Path)
			if result.Pooled {
				path += ", ready"
			}
			latencies[path] = append(latencies[path], r.Latency)
			latencies["all served"] = append(latencies["all served"], r.Latency)
		case http.StatusTooManyRequests:
			refused++
			latencies["refused"] = append(latencies["refused"], r.Latency)
		default:
			failed++
		}
	}
	took := time.Since(start).Seconds()
	first := fmt.Sprintf("%.0fx\t%.0f\t%.0f\t%.1f %%\t%d", factor, float64(sent)/took, float64(served)/took, 100*float64(refused)/float64(max(sent, 1)), failed)
	for _, path := range slices.Sorted(keys(latencies)) {
		d := latencies[path]
		slices.Sort(d)
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%s\t%s\t\n", first, path, len(d), at(d, 0.5), at(d, 0.99), at(d, 0.999), l.rss())
		first = "\t\t\t\t"
	}
	return nil
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

// rss is the daemon's resident memory.
func (l *load) rss() string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", l.pid))
	if err != nil {
		return "-"
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		var kib int
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kib); n == 1 {
			return fmt.Sprint(kib >> 10)
		}
	}
	return "-"
}
