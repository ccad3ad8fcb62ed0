package tests

import (
	"encoding/json"
	"fmt"
	"math"
	"net"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"seuss/dispatcher"
	"seuss/dispatcher/park"
)

// waiting sleeps and says by how much too early it came back, if it did, and whether it is
// what it was before: its state, its files and its clock.
const waiting = `
import os, random, time
def clocks(): # by how much the wall clock is ahead, at most and at least, and the other
    a, wall, b = time.monotonic(), time.time(), time.monotonic()
    return wall - a, wall - b, b
def handler(event, context):
    kept = [random.random() for _ in range(50)]
    own = os.urandom(8).hex()
    open("/tmp/own", "w").write(own)
    left, (most, least, began) = context.get_remaining_time_in_millis(), clocks()
    time.sleep(event["seconds"])
    most2, least2, ended = clocks()
    slept = ended - began
    same = open("/tmp/own").read() == own and len(set(kept)) == 50
    return {"id": event["id"], "own": own, "early": slept < event["seconds"], "same": same,
            "clocks": least2 < most + 0.1 and least < most2 + 0.1, "left": left - context.get_remaining_time_in_millis()}
`

// slept is what it says.
type slept struct {
	ID     int
	Own    string
	Early  bool
	Same   bool
	Clocks bool
	Left   float64
}

// sleepAll has n invocations sleep at once, and returns how long all of them took. None may
// be refused, and none be another's.
func (d *daemon) sleepAll(n int, seconds float64) time.Duration {
	d.Helper()
	var wg sync.WaitGroup
	var mu sync.Mutex
	own := map[string]bool{}
	began := time.Now()
	for id := range n {
		wg.Go(func() {
			out, err := d.invoke(d.Context(), "waiting", fmt.Sprintf(`{"id": %d, "seconds": %g}`, id, seconds))
			if err != nil || out.FunctionError != nil {
				d.Errorf("%d: %v, %+v", id, err, out)
				return
			}
			var s slept
			if err := json.Unmarshal(out.Payload, &s); err != nil {
				d.Errorf("%d: %s: %v", id, out.Payload, err)
				return
			}
			if s.ID != id || s.Early || !s.Same || !s.Clocks || math.Abs(s.Left-1000*seconds) > 60_000 {
				d.Errorf("%d: %+v", id, s)
			}
			mu.Lock()
			defer mu.Unlock()
			if own[s.Own] {
				d.Errorf("%d: its randomness is another's", id)
			}
			own[s.Own] = true
		})
	}
	wg.Wait()
	return time.Since(began)
}

// TestSleepersLeaveMachines: more invocations than machines sleep at a time; none is refused,
// and each goes on as what it was. Events wait likewise, and hold nobody up, other events
// neither.
func TestSleepersLeaveMachines(t *testing.T) {
	d := startDaemon(t, "--machines", "4", "--function-queue", "1000", "--target-wait", "10m", "--max-wait", "10m")
	d.create("waiting", waiting, func(in *lambda.CreateFunctionInput) { in.Timeout = aws.Int32(300) })
	d.create("quick", "def handler(e, c): return e\n", nil)
	took := d.sleepAll(40, 1)
	n := d.number("seuss_parks_total")
	t.Logf("40 that sleep for a second are answered after %v on 4 machines; %.0f parks, %.1f ms each, %.1f ms each way back, %.0f late", took, n,
		1000*d.number(`seuss_parks_seconds_total{way="out"}`)/n, 1000*d.number(`seuss_parks_seconds_total{way="back"}`)/n, d.number("seuss_parked_late_total"))
	if n < 10 {
		t.Errorf("%v parks", n)
	}
	for _, what := range []string{"seuss_parked_instances", "seuss_parked_bytes", "seuss_resting_instances"} {
		d.wantMetric(what, "0")
	}
	for range 40 {
		if _, err := d.aws.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("waiting"), InvocationType: types.InvocationTypeEvent, Payload: []byte(`{"id": 0, "seconds": 200}`)}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := d.aws.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("quick"), InvocationType: types.InvocationTypeEvent, Payload: []byte("1")}); err != nil {
		t.Fatal(err)
	}
	d.wantMetric("seuss_events", "40")
	d.wantOutput("quick", "8", "8")
}

// asking asks a server, over TCP or at a port of the host, and waits for its answer.
const asking = `
import socket
def handler(event, context):
    if event["port"]:
        s = socket.create_connection(("198.51.100.7", event["port"]))
    else:
        s = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
        s.connect((2, 7000))
    s.sendall(b"%d\n" % event["id"])
    answer = s.makefile("rb").read()
    return [int(answer[:8]), len(answer)]
`

// TestWaitersLeaveMachines: a hundred invocations on four machines have all asked a server
// that does not answer yet, so that all wait at once; others are served meanwhile. In the end
// each gets its own answer, which is longer than what a stream takes for a guest that does
// not read.
func TestWaitersLeaveMachines(t *testing.T) {
	const n, long = 100, 400 << 10
	dir := shortDir(t)
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	host, err := net.Listen("unix", filepath.Join(dir, "host_7000"))
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	d := open(t, func(o *dispatcher.Options) {
		o.PoolSize, o.VsockDir, o.HostPorts, o.Network = 4, dir, []uint32{7000}, outside(t, outsideAddr+":*")
	})
	for name, source := range map[string]string{"asking": asking, "quick": "def handler(e, c): return e\n"} {
		deploy(t, d, name, source, nil)
		t.Cleanup(func() { d.RemoveFunction(name) })
	}
	asked := make(chan func(), n)
	for _, l := range []net.Listener{tcp, host} {
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					var id int
					if _, err := fmt.Fscan(c, &id); err == nil {
						asked <- func() {
							fmt.Fprintf(c, "%08d%*d", 1000+id, long-8, 0)
							c.Close()
						}
					}
				}()
			}
		}()
	}
	var wg sync.WaitGroup
	for id := range n {
		port := tcp.Addr().(*net.TCPAddr).Port * (id % 2)
		wg.Go(func() {
			r, err := d.Invoke(t.Context(), dispatcher.Request{Function: "asking", Event: fmt.Appendf(nil, `{"id": %d, "port": %d}`, id, port), Timeout: patience(5 * time.Minute)})
			if err != nil {
				t.Errorf("%d: %v", id, err)
			} else if want := fmt.Sprintf("[%d, %d]", 1000+id, long); r.Error != nil || string(r.Output) != want {
				t.Errorf("%d: %s, %v; want %s", id, r.Output, r.Error, want)
			}
		})
	}
	var answers []func()
	for range n {
		select {
		case answer := <-asked:
			answers = append(answers, answer)
		case <-time.After(patience(4 * time.Minute)):
			t.Fatalf("%d of %d have asked", len(answers), n)
		}
	}
	if r := invoke(t, d, "quick", "5"); string(r.Output) != "5" {
		t.Errorf("%s", r.Output)
	}
	parked := func(what string, is func(park.Stats) bool) park.Stats {
		t.Helper()
		st := d.Stats().Parked
		for end := time.Now().Add(patience(2 * time.Minute)); !is(st); st = d.Stats().Parked {
			if time.Sleep(10 * time.Millisecond); time.Now().After(end) {
				t.Fatalf("not in two minutes: %s; %+v", what, st)
			}
		}
		return st
	}
	st := parked("all are parked", func(st park.Stats) bool { return st.Instances >= n-4 && st.Whole == 0 })
	t.Logf("%d wait, %d bytes each", st.Instances, st.Bytes/uint64(st.Instances))
	for _, answer := range answers {
		go answer()
	}
	wg.Wait()
	parked("nothing is left", func(st park.Stats) bool { return st.Instances == 0 && st.Bytes == 0 })
}

// number is a metric's.
func (d *daemon) number(name string) float64 {
	d.Helper()
	n, err := strconv.ParseFloat(d.metric(name), 64)
	if err != nil {
		d.Errorf("%s: %v", name, err)
	}
	return n
}
