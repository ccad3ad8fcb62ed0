// Command load puts a running daemon (seussctl serve) under load and prints what
// came of it: a mixed workload of many functions, chosen by Zipf's law, at the
// sustainable rate and beyond; and a burst of functions that were never seen,
// beside a zygote that forks for each request on the same machine.
//
// The requests of the mixed workload come from vegeta. Rates are requests per
// second, latencies those that the client sees, its own delays included.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

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
	work      int
	rates     []float64
	duration  time.Duration
	pid       int
	client    *http.Client
	header    http.Header // of every request
}

func run() error {
	l := &load{}
	flag.StringVar(&l.url, "url", "http://127.0.0.1:9001", "where the daemon listens")
	flag.IntVar(&l.functions, "functions", 100, "how many functions the mixed workload has")
	flag.IntVar(&l.work, "work", 0, "numbers that a function of the mixed workload adds up in each invocation, 10 to 20 ns each; with 100,000 the generator keeps up with five times what the daemon sustains")
	flag.DurationVar(&l.duration, "duration", 20*time.Second, "how long the first rate is held; the others a tenth of it, but at least 20 s, or all of it if it is shorter")
	tokenFile := flag.String("token-file", "", "the file with the daemon's token")
	rates := flag.String("rates", "1,2,5", "rates of the mixed workload, in parts of what the daemon sustains")
	flag.IntVar(&l.pid, "pid", 0, "the daemon's process, to report its memory")
	burst := flag.Int("burst", 1000, "how many never-seen functions to invoke at once; 0: none")
	flag.Parse()
	l.header = http.Header{"Content-Type": {"application/json"}}
	if *tokenFile != "" {
		b, err := os.ReadFile(*tokenFile)
		if err != nil {
			return err
		}
		l.header.Set("Authorization", "Bearer "+strings.TrimSpace(string(b)))
	}
	for text := range strings.SplitSeq(*rates, ",") {
		r, err := strconv.ParseFloat(text, 64)
		if err != nil || r <= 0 {
			return fmt.Errorf("-rates %s: not a list of positive numbers", *rates)
		}
		l.rates = append(l.rates, r)
	}
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
func source(n, work int) string {
	return fmt.Sprintf("import json\nNUMBER, WORK = %d, %d\ndef handler(event, context):\n    return {'number': NUMBER, 'keys': len(json.loads(json.dumps(event))), 'sum': sum(range(WORK))}\n", n, work)
}

func functionSpec(n, work int) dispatcher.FunctionSpec {
	return dispatcher.FunctionSpec{Name: fmt.Sprintf("load-%d", n), Handler: "main.handler", Files: map[string][]byte{"main.py": []byte(source(n, work))}}
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
	r.Header = l.header
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
