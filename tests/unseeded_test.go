package tests

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"seuss/dispatcher"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/instances"
)

// A thread that goes on drawing, each draw with bytes of the kernel library's beside it, which
// no other copy has.
const drawingPython = `
import os, random, threading, time
draws = []
def work():
    while True:
        time.sleep(0.0005)
        draws.append([random.random(), os.urandom(8).hex()])
        del draws[:-50]
threading.Thread(target=work, daemon=True).start()
def handler(event, context):
    last = draws[-1:]
    while draws[-1:] == last:
        time.sleep(0.005)
    return draws
`

const drawingRuby = `
DRAWS = []
Thread.new { loop { sleep 0.0005; DRAWS << [rand, Random.urandom(8).unpack1("H*")]; DRAWS.shift if DRAWS.length > 50 } }
def handler(event:, context:)
  last = DRAWS.last
  sleep 0.005 while DRAWS.last.equal?(last)
  DRAWS
end
`

// draws are those of all copies: what was drawn, and the kernel library's bytes of that moment.
type draws struct {
	mu   sync.Mutex
	seen map[float64]string
}

// note reports whether a draw of one copy is another's, made at another moment: what a copy
// drew before it was one is the same with the same bytes.
func (d *draws) note(t *testing.T, who string, answer []byte) {
	t.Helper()
	var pairs [][2]json.RawMessage
	if err := json.Unmarshal(answer, &pairs); err != nil || len(pairs) == 0 {
		t.Errorf("%s: %s, %v", who, answer, err)
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.seen == nil {
		d.seen = map[float64]string{}
	}
	same := 0
	for _, p := range pairs {
		var number float64
		if err := json.Unmarshal(p[0], &number); err != nil {
			t.Error(err)
			return
		}
		if before, ok := d.seen[number]; ok && before != string(p[1]) {
			same++
		}
		d.seen[number] = string(p[1])
	}
	if same > 0 {
		t.Errorf("%s: %d of %d draws are another copy's too", who, same, len(pairs))
	}
}

// long is more than comes before the driver has read some of it, and so waits.
var long = strings.Repeat("x", 400<<10)

// starts notes what copies of a function draw.
func (d *draws) starts(t *testing.T, service *dispatcher.Dispatcher) {
	t.Helper()
	for n := range 10 {
		r := invoke(t, service, "draws", `"`+long+`"`)
		if r.Error != nil {
			t.Fatal(r.Error)
		}
		d.note(t, fmt.Sprint("start ", n), r.Output)
	}
}

// TestRubyNobodyRunsUnseeded: as TestNobodyRunsUnseeded.
func TestRubyNobodyRunsUnseeded(t *testing.T) {
	d := openRuby(t)
	deployRuby(t, d, "draws", "main.handler", drawingRuby, false)
	new(draws).starts(t, d)
}

// TestNobodyRunsUnseeded: threads that a function, or an instance that lives on, has of its own
// draw nothing after a restore before the runtime's generators are seeded, however long the
// driver's message takes to come: this one comes in pieces, and the driver waits in between.
func TestNobodyRunsUnseeded(t *testing.T) {
	t.Parallel()
	d, ctx := openOwn(t, nil), t.Context()
	deploy(t, d, "draws", drawingPython, nil)
	new(draws).starts(t, d)

	get := func(name string) *instances.Instance {
		i, err := d.Keeper.Get(functions.DefaultOwner, name)
		if err != nil {
			t.Fatal(err)
		}
		return i
	}
	create := func(s instances.Spec) *instances.Instance {
		info, err := d.Keeper.Create(ctx, functions.DefaultOwner, s)
		if err != nil {
			t.Fatal(err)
		}
		return get(info.Name)
	}
	do := func(i *instances.Instance, code string) []byte {
		a, err := i.Do(ctx, &instances.Call{Code: &code})
		if err != nil || a.Error != nil {
			t.Fatalf("%+v, %v", a, err)
		}
		return a.Value
	}
	i := create(instances.Spec{Image: dispatcher.DefaultImage()})
	do(i, drawingPython)
	node, err := i.Checkpoint(ctx)
	if err != nil {
		t.Fatal(err)
	}
	const look = "handler(None, None)"
	var seen draws
	for range 10 { // the first thing that each is told
		j := create(instances.Spec{Snapshot: node})
		seen.note(t, j.Info().Name, do(j, "#"+long+"\n"+look))
		j.Remove()
	}
	forks, err := i.Fork(ctx, 100, nil)
	if err != nil {
		t.Fatal(err)
	}
	for n, f := range forks { // their timers are due before that
		j := get(f.Name)
		if n%10 == 0 { // and what is captured before it has been told anything is seeded too
			if _, err := j.Checkpoint(ctx); err != nil {
				t.Fatal(err)
			}
		}
		seen.note(t, f.Name, do(j, look))
		j.Remove()
	}
}

// TestUnseededEnds: a driver that cannot seed, because it waits for another thread or computes,
// does not go on unseeded, nor for ever: the start fails, and the error says why.
func TestUnseededEnds(t *testing.T) {
	t.Parallel()
	d := openOwn(t, nil)
	for name, seed := range map[string]string{"waits": "gate.acquire()", "computes": "exec('while True: pass')"} {
		deploy(t, d, name, `
import random, threading, time
gate = threading.Lock()
def hold():
    with gate:
        while True:
            time.sleep(0.001)
threading.Thread(target=hold, daemon=True).start()
random.seed = lambda *_: `+seed+`
def handler(event, context):
    return random.random()
`, nil)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := d.Invoke(t.Context(), dispatcher.Request{Function: name, Event: []byte("1"), Timeout: patience(5 * time.Minute)})
			var crash *dispatcher.CrashError
			if err != nil || r.Error == nil || !errors.As(r.Error.Cause, &crash) || !strings.Contains(r.Error.Message, "has not seeded the runtime's generators") {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
}
