package bench

import (
	"bufio"
	"context"
	_ "embed"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

//go:embed guestbench/bench.c
var guestBench []byte

// GuestReport compares programs in a guest with the same programs on the host.
type GuestReport struct {
	Rows    []GuestRow `json:"rows"`
	LeftOut []string   `json:"left_out,omitempty"` // runtimes, with the reason
}

// GuestRow is one figure: the best of the rounds on either side.
type GuestRow struct {
	Runtime  string  `json:"runtime"`
	What     string  `json:"what"`
	NativeNS float64 `json:"native_ns"`
	GuestNS  float64 `json:"guest_ns"`
}

// Ratio is guest to native.
func (r GuestRow) Ratio() float64 { return r.GuestNS / r.NativeNS }

// GuestProgram is a runtime that is measured: Start does nothing, Work prints
// lines of a name, a tab and nanoseconds.
type GuestProgram struct {
	Runtime     string
	Image       string // as for run --image
	Start, Work []string
	Native      string // the program on the host, Start[0] and Work[0] in the guest
}

const (
	pythonWork = `
import time
def best(name, f, rounds=5):
    took = []
    for _ in range(rounds):
        start = time.perf_counter_ns()
        f()
        took.append(time.perf_counter_ns() - start)
    print(name, min(took), sep="\t", flush=True)
def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
best("fib(20)", lambda: fib(20))
best("dictionary of 100,000", lambda: {str(n): n for n in range(100000)})
try:
    import numpy
except ImportError:
    pass
else:
    a = numpy.arange(40000, dtype=float).reshape(200, 200)
    best("numpy: product of 200 x 200 matrices", lambda: a @ a, 30)
`
	nodeWork = `
function best(name, f) {
  let least = Infinity
  for (let i = 0; i < 20; i++) { const start = process.hrtime.bigint(); f(); least = Math.min(least, Number(process.hrtime.bigint() - start)) }
  console.log(name + "\t" + least)
}
const fib = (n) => n < 2 ? n : fib(n - 1) + fib(n - 2)
best("fib(25)", () => fib(25))
best("loop of 1,000,000", () => { let x = 0; for (let i = 0; i < 1e6; i++) x = (x * 31 + i) | 0; return x })
`
	luaWork = `
local function fib(n) if n < 2 then return n end return fib(n - 1) + fib(n - 2) end
local least = math.huge
for _ = 1, 5 do local start = os.clock(); fib(22); least = math.min(least, os.clock() - start) end
print(string.format("fib(22)\t%.0f", least * 1e9))
`
)

// GuestRuntimes are the runtimes besides C, each with its stock image.
var GuestRuntimes = []GuestProgram{
	{"python", "python", []string{"/usr/bin/python3.11", "-c", "pass"}, []string{"/usr/bin/python3.11", "-c", pythonWork}, "/usr/bin/python3.11"},
	{"node", "node", []string{"/usr/bin/node", "-e", ""}, []string{"/usr/bin/node", "-e", nodeWork}, "/usr/bin/node"},
	{"lua", "lua", []string{"/usr/bin/lua5.4", "-e", ""}, []string{"/usr/bin/lua5.4", "-e", luaWork}, "/usr/bin/lua5.4"},
}

// BuildGuestBench compiles the C program into root/bin/bench.
func BuildGuestBench(ctx context.Context, root string) (GuestProgram, error) {
	p := GuestProgram{Runtime: "C", Image: "dir:" + root, Start: []string{"/bin/bench", "start"}, Work: []string{"/bin/bench"}, Native: filepath.Join(root, "bin/bench")}
	source := filepath.Join(root, "bench.c")
	for _, dir := range []string{"bin", "tmp"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o755); err != nil {
			return p, err
		}
	}
	if err := os.WriteFile(source, guestBench, 0o644); err != nil {
		return p, err
	}
	out, err := exec.CommandContext(ctx, "gcc", "-O2", "-static", "-pthread", "-o", p.Native, source).CombinedOutput()
	if err != nil {
		return p, fmt.Errorf("compile the benchmark with gcc: %w\n%s", err, out)
	}
	return p, nil
}

// MeasureGuest runs one program on both sides in turns. run runs it in a guest
// and returns what it printed.
func MeasureGuest(ctx context.Context, p GuestProgram, rounds int, run func(args []string) (string, error)) ([]GuestRow, error) {
	native := func(args []string) (string, error) {
		out, err := exec.CommandContext(ctx, p.Native, args[1:]...).Output()
		return string(out), err
	}
	rows := []GuestRow{{p.Runtime, "start to end", math.Inf(1), math.Inf(1)}}
	for range rounds {
		for side, run := range []func([]string) (string, error){native, run} {
			start := time.Now()
			if _, err := run(p.Start); err != nil {
				return nil, fmt.Errorf("%s: %w", p.Runtime, err)
			}
			rows[0].least(side, float64(time.Since(start)))
			out, err := run(p.Work)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", p.Runtime, err)
			}
			if rows, err = addGuestRows(rows, p.Runtime, side, out); err != nil {
				return nil, err
			}
		}
	}
	return rows, nil
}

func (r *GuestRow) least(side int, ns float64) {
	if side == 0 {
		r.NativeNS = min(r.NativeNS, ns)
	} else {
		r.GuestNS = min(r.GuestNS, ns)
	}
}

// addGuestRows takes the figures of one run over.
func addGuestRows(rows []GuestRow, runtime string, side int, out string) ([]GuestRow, error) {
	s := bufio.NewScanner(strings.NewReader(out))
	for s.Scan() {
		name, figure, ok := strings.Cut(s.Text(), "\t")
		ns, err := strconv.ParseFloat(figure, 64)
		if !ok || err != nil || ns <= 0 {
			return nil, fmt.Errorf("%s printed %q, want a name, a tab and nanoseconds", runtime, s.Text())
		}
		at := -1
		for i := range rows {
			if rows[i].What == name {
				at = i
			}
		}
		if at < 0 {
			at = len(rows)
			rows = append(rows, GuestRow{runtime, name, math.Inf(1), math.Inf(1)})
		}
		rows[at].least(side, ns)
	}
	return rows, nil
}
