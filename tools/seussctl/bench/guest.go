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
	NativeNS float64 `json:"native_ns"` // 0: there is no such thing natively
	GuestNS  float64 `json:"guest_ns"`
	// Calls is how many system calls are in it, 0 if it is not about calls.
	Calls int `json:"calls,omitempty"`
}

// Ratio is guest to native.
func (r GuestRow) Ratio() float64 { return r.GuestNS / r.NativeNS }

// Names of figures that mean something to the report.
const (
	guestEmpty   = "empty call" // what the platform takes for a system call that does nothing
	guestMachine = "making the machine"
	guestToMain  = "start to main"
	guestToEnd   = "start to end, making the machine included"
)

// Excess is by how much a row's calls take longer than natively beyond what as many
// calls that do nothing take in the guest, in nanoseconds: that is the platform's own
// cost of entering the kernel library. ok is false for rows that are not about calls.
func (r *GuestReport) Excess(row GuestRow) (ns float64, ok bool) {
	for _, empty := range r.Rows {
		if empty.Runtime == row.Runtime && empty.What == guestEmpty && row.Calls > 0 && row.What != guestEmpty {
			return row.GuestNS - row.NativeNS - float64(row.Calls)*empty.GuestNS, true
		}
	}
	return 0, false
}

// Within reports whether a row meets its bar: calls take no longer than natively beyond
// the platform's own cost of entering the kernel library, and a program is at its main
// no later than natively. ok is false for rows that have none.
func (r *GuestReport) Within(row GuestRow) (met, ok bool) {
	if row.What == guestToMain {
		return row.GuestNS <= row.NativeNS, true
	}
	ns, ok := r.Excess(row)
	return ok && ns <= 0, ok
}

// GuestRun is one run of a program in a guest.
type GuestRun struct {
	Output  string
	Machine time.Duration // to make it, with the image in its memory
	Booted  time.Time     // when its cold boot began
}

// GuestProgram is a runtime that is measured: Start does nothing, or prints a line of
// "main", a tab and the wall clock in nanoseconds as its first statement; Work prints
// lines of a name, a tab, nanoseconds, and if it is about them a tab and how many
// system calls that takes.
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
	{"python", "python", []string{"/usr/bin/python3.11", "-c", "import time; print('main', time.time_ns(), sep='\\t')"}, []string{"/usr/bin/python3.11", "-c", pythonWork}, "/usr/bin/python3.11"},
	{"node", "node", []string{"/usr/bin/node", "-e", "const t = performance.timeOrigin + performance.now(); console.log('main\\t' + (t * 1e6).toFixed())"}, []string{"/usr/bin/node", "-e", nodeWork}, "/usr/bin/node"},
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

// MeasureGuest runs one program on both sides in turns. run runs it in a guest.
func MeasureGuest(ctx context.Context, p GuestProgram, rounds int, run func(args []string) (GuestRun, error)) ([]GuestRow, error) {
	native := func(args []string) (GuestRun, error) {
		r := GuestRun{Booted: time.Now()}
		out, err := exec.CommandContext(ctx, p.Native, args[1:]...).Output()
		r.Output = string(out)
		return r, err
	}
	rows := []GuestRow{{Runtime: p.Runtime, What: guestMachine, GuestNS: math.Inf(1)}}
	for range rounds {
		for side, run := range []func([]string) (GuestRun, error){native, run} {
			start := time.Now()
			r, err := run(p.Start)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", p.Runtime, err)
			}
			took := time.Since(start)
			if main, ok := strings.CutPrefix(strings.TrimSpace(r.Output), "main\t"); ok {
				at, err := strconv.ParseInt(main, 10, 64)
				if err != nil {
					return nil, fmt.Errorf("%s printed %q, want the time of its main", p.Runtime, r.Output)
				}
				rows = addGuestRow(rows, side, GuestRow{Runtime: p.Runtime, What: guestToMain}, float64(at-r.Booted.UnixNano()))
			}
			rows = addGuestRow(rows, side, GuestRow{Runtime: p.Runtime, What: guestToEnd}, float64(took))
			if side == 1 {
				rows = addGuestRow(rows, side, GuestRow{Runtime: p.Runtime, What: guestMachine}, float64(r.Machine))
			}
			work, err := run(p.Work)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", p.Runtime, err)
			}
			if rows, err = addGuestRows(rows, p.Runtime, side, work.Output); err != nil {
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
		figure, count, counted := strings.Cut(figure, "\t")
		row := GuestRow{Runtime: runtime, What: name}
		ns, err := strconv.ParseFloat(figure, 64)
		if err == nil && counted {
			row.Calls, err = strconv.Atoi(count)
		}
		if !ok || err != nil || ns <= 0 || row.Calls < 0 {
			return nil, fmt.Errorf("%s printed %q, want a name, a tab and nanoseconds", runtime, s.Text())
		}
		rows = addGuestRow(rows, side, row, ns)
	}
	return rows, nil
}

// addGuestRow keeps the least of the figures of a row.
func addGuestRow(rows []GuestRow, side int, row GuestRow, ns float64) []GuestRow {
	for i := range rows {
		if rows[i].What == row.What {
			rows[i].least(side, ns)
			return rows
		}
	}
	row.NativeNS, row.GuestNS = math.Inf(1), math.Inf(1)
	row.least(side, ns)
	return append(rows, row)
}
