package benchcmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/http/native/client"
	"seuss/tools/seussctl/bench"
	"seuss/tools/seussctl/cmdline"
	"seuss/tools/seussctl/samples"
)

const (
	stateName   = "state-bench"
	redisName   = "redis-bench"
	redisPort   = 6379
	stateRounds = 5
	stateOps    = 200 // of each in a round
	regionBytes = 100 << 20
	readers     = 8

	readPart     = "read 4 KiB of a region"
	openRegion   = "open a region of 100 MB"
	readNatively = "read 100 MB of its own, natively"
)

// operations are what is measured with state and with Redis. lock is two of them: taking it
// and giving it back.
var operations = []string{"get", "set", "append", "lock"}

// stateReport is what bench state prints.
type stateReport struct {
	Platform string      `json:"platform"`
	Rows     []bench.Row `json:"rows"`
	// Exits are how often the guest was left for each operation.
	Exits map[string]float64 `json:"exits"`
	// SharedBytes is by how much the host's shared memory grew while others opened and read a
	// region that one had.
	SharedBytes int64 `json:"shared_bytes"`
	// MovedRedis is what the descent with Redis has sent and received.
	MovedRedis int64      `json:"moved_redis_bytes,omitempty"`
	Bars       []chainBar `json:"bars"`
	NoRedis    string     `json:"no_redis,omitempty"` // why nothing is compared with it
}

func BenchState(e *cmdline.Env) *cli.Command {
	return inRounds(e, cmdline.Spec{
		Name:  "state",
		Usage: "measure what functions share, beside Redis",
		Description: `
A Python function reads 4 KiB of state, writes them, appends 64 bytes and takes a lock;
others open a region of 100 MB that one has, and read all of it. Beside it Debian's
redis-server on a Unix socket, used by a Python process and by a function (over a vsock
port); where there is none it is left out ('tools/setup.sh redis' installs it). Turns
about. Uses a state directory of its own, or the one given with --state, on which no
daemon may run.`,
		Examples: []string{"seussctl bench state", "seussctl --platform process bench state --rounds 2 --json"},
	}, stateRounds, measureState, printState)
}

// stateWork is what it is measured with.
type stateWork struct {
	d       cmdline.Service
	socket  string
	redis   bool
	numpy   bool
	report  stateReport
	samples map[string][]time.Duration
	exits   map[string][]uint64 // of stateOps operations, less those of none
}

func measureState(ctx context.Context, e *cmdline.Env, rounds int) (_ *stateReport, err error) {
	e.OwnState("bench")
	if err := e.FreshImages(ctx); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "seuss-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	w := &stateWork{socket: filepath.Join(dir, fmt.Sprintf("host_%d", redisPort)), samples: map[string][]time.Duration{}, exits: map[string][]uint64{}}
	server, err := bench.StartRedis(ctx, w.socket)
	switch {
	case errors.Is(err, bench.ErrNoRedis):
		w.report.NoRedis = err.Error()
		e.Notef("nothing is compared with Redis: %v", err)
	case err != nil:
		return nil, err
	default:
		defer server.Close()
		w.redis = true
	}
	if w.numpy, err = e.ImageHas(cmdline.DefaultImage, "/usr/lib/python3/dist-packages/numpy"); err != nil {
		return nil, err
	}
	if !w.numpy {
		e.Notef("the image holds no NumPy: how fast regions are read is left out (apt-get install python3-numpy, then seussctl image build)")
	}
	err = e.WithEngine(dispatcher.Options{VsockDir: dir, HostPorts: []uint32{redisPort}}, func(d cmdline.Service) error {
		if _, served := d.(*client.Client); served {
			return cmdline.ErrServed
		}
		w.d = d
		if err := w.deploy(ctx); err != nil {
			return err
		}
		for round := range rounds + 1 {
			e.Progress.Step("measuring state", float64(round)/float64(rounds+1))
			if round == 1 { // the first one is not measured
				w.samples, w.exits = map[string][]time.Duration{}, map[string][]uint64{}
			}
			if err := w.round(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return w.sumUp(), nil
}

func (w *stateWork) deploy(ctx context.Context) error {
	for name, files := range map[string]map[string][]byte{
		stateName: {"main.py": samples.StateBench}, redisName: {"main.py": samples.RedisBench},
		descentName: {"main.py": samples.SGD}, redisDescentName: {"main.py": samples.SGDRedis, "sgd.py": samples.SGD, "redis_bench.py": samples.RedisBench},
	} {
		var imports []string
		if w.numpy {
			imports = []string{"numpy"}
		} else if strings.Contains(name, descentName) {
			continue
		}
		spec := sample(name, nil, false, imports)
		spec.Files = files
		spec.Settings = functions.Settings{TimeoutSec: 300, Shares: []string{"bench:rw", "sgd:rw"}, Calls: []string{name}, HostPorts: []uint32{redisPort}}
		if _, err := w.d.Deploy(ctx, spec); err != nil {
			return err
		}
	}
	return nil
}

// invoke has a function do something and tell times.
func (w *stateWork) invoke(ctx context.Context, function string, event map[string]any, told any) (exits uint64, err error) {
	text, err := json.Marshal(event)
	if err != nil {
		return 0, err
	}
	r, err := w.d.Invoke(ctx, dispatcher.Request{Function: function, Event: text, Timeout: 5 * time.Minute})
	if err == nil && r.Error != nil {
		err = r.Error
	}
	if err != nil {
		return 0, fmt.Errorf("%s %s: %w", function, text, err)
	}
	w.report.Platform = r.Platform
	return r.Exits, json.Unmarshal(r.Output, told)
}

func (w *stateWork) add(name string, took ...time.Duration) {
	w.samples[name] = append(w.samples[name], took...)
}

func (w *stateWork) round(ctx context.Context) error {
	for _, op := range operations {
		functions := []string{stateName}
		if w.redis {
			functions = append(functions, redisName)
		}
		for _, f := range functions {
			var took []time.Duration
			none, err := w.invoke(ctx, f, map[string]any{"do": op, "n": 0, "port": redisPort}, &took)
			if err != nil {
				return err
			}
			all, err := w.invoke(ctx, f, map[string]any{"do": op, "n": stateOps, "port": redisPort}, &took)
			if err != nil {
				return err
			}
			name := op + map[string]string{stateName: "", redisName: ", Redis from a function"}[f]
			w.add(name, took...)
			w.exits[name] = append(w.exits[name], max(all, none)-none)
		}
		if w.redis {
			took, err := w.native(ctx, op, stateOps)
			if err != nil {
				return err
			}
			w.add(op+", Redis natively", took...)
		}
	}
	if !w.numpy {
		return nil
	}
	var told struct{ Read, Open, Scan []time.Duration }
	before := sharedMemory()
	if _, err := w.invoke(ctx, stateName, map[string]any{"do": "shared", "size": regionBytes, "opens": 20, "readers": readers, "function": stateName}, &told); err != nil {
		return err
	}
	w.report.SharedBytes = sharedMemory() - before
	w.add(readPart, told.Read...)
	w.add(openRegion, told.Open...)
	w.add("read it", told.Scan...)
	own, err := w.native(ctx, "own", regionBytes)
	if err != nil {
		return err
	}
	w.add(readNatively, own...)
	return w.descend(ctx)
}

func (w *stateWork) native(ctx context.Context, do string, n int) (took []time.Duration, err error) {
	out, err := bench.RunScript(ctx, python, samples.RedisBench, w.socket, do, strconv.Itoa(n))
	if err != nil {
		return nil, fmt.Errorf("natively, %s: %w", do, err)
	}
	return took, json.Unmarshal(out, &took)
}

// sharedMemory is what the host has of it, in bytes; 0: not known.
func sharedMemory() (bytes int64) {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		var kib int64
		if n, err := fmt.Sscanf(line, "Shmem: %d kB", &kib); err == nil && n == 1 {
			return kib << 10
		}
	}
	return 0
}

func (w *stateWork) sumUp() *stateReport {
	r := &w.report
	r.Exits = map[string]float64{}
	p50 := map[string]float64{}
	row := func(name string) {
		if took := w.samples[name]; len(took) > 0 {
			one := bench.NewRow(name, took)
			r.Rows, p50[name] = append(r.Rows, one), one.P50
		}
		if exits := w.exits[name]; len(exits) > 0 {
			r.Exits[name] = float64(bench.Percentile(exits, 50)) / stateOps
		}
	}
	for _, op := range operations {
		row(op)
		row(op + ", Redis natively")
		row(op + ", Redis from a function")
	}
	for _, name := range []string{readPart, openRegion, "read it", readNatively, descent, descentRedis} {
		row(name)
	}
	bar := func(what, to string, limit float64) {
		if p50[what] > 0 && p50[to] > 0 {
			r.Bars = append(r.Bars, chainBar{what + " / " + to, p50[what] / p50[to], limit})
		}
	}
	for _, op := range operations {
		limit := 1.0
		if op == "get" {
			limit = 0.2
		}
		bar(op, op+", Redis natively", limit)
		if op != "get" {
			bar(op, op+", Redis from a function", 1.0/3)
		}
	}
	bar(readPart, "get, Redis natively", 0.2)
	if open := p50[openRegion]; open > 0 {
		r.Bars = append(r.Bars, chainBar{openRegion + ", ms", open / 1000, 1})
	}
	bar("read it", readNatively, 1.1)
	bar(descent, descentRedis, 0.5)
	return r
}

func printState(w io.Writer, r *stateReport) error {
	if err := printTimes(w, r.Platform, r.Rows); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(w, "\nThe guest is left, for each:"); err != nil {
		return err
	}
	for _, row := range r.Rows {
		if n, ok := r.Exits[row.Path]; ok {
			if _, err := fmt.Fprintf(w, "  %-30s %.2f times\n", row.Path, n); err != nil {
				return err
			}
		}
	}
	if r.MovedRedis > 0 {
		if _, err := fmt.Fprintf(w, "\nThe descent with Redis has moved %s, that with regions none.\n", cmdline.FormatBytes(uint64(r.MovedRedis))); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintf(w, "\nWhile %d opened and read the region the host's shared memory grew by %s.\n\n", readers, cmdline.FormatBytes(uint64(max(r.SharedBytes, 0)))); err != nil {
		return err
	}
	return printRatios(w, r.Bars)
}
