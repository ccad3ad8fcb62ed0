package tests

import (
	"crypto/sha256"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"seuss/tests/attacks"
)

// longAttacks asks for every case of every attack, and for honest clients that are
// measured for as long as it takes (make test-hostile).
var longAttacks = os.Getenv("SEUSS_HOSTILE") == "1"

// honest are clients that do nothing wrong, each with one request after the other.
type honest struct {
	target *attacks.Target
	mu     sync.Mutex
	took   []time.Duration // of requests that were served, refusals before that included
	began  []time.Time
	over   chan struct{}
	wg     sync.WaitGroup
}

const honestFunction = `
import hashlib, os
calls, secret = [], os.urandom(16)
def handler(event, context):
    calls.append(event)
    return [len(calls), hashlib.sha256(b"%d" % event).hexdigest()[:8], sorted(os.listdir("/tmp"))]
`

// honestClients start and go on until stop.
func honestClients(t *attacks.Target, clients int) *honest {
	h := &honest{target: t, over: make(chan struct{})}
	for client := range clients {
		h.wg.Go(func() {
			for n := client; ; n += clients {
				select {
				case <-h.over:
					return
				default:
				}
				start := time.Now()
				a, err := t.Invoke("honest", fmt.Sprint(n), t.Patience(20*time.Second))
				// Where too much is asked for at a time, nobody is at fault; but everybody's turn comes.
				for end := start.Add(t.Patience(2 * time.Minute)); err == nil && a.Status == 429 && time.Now().Before(end); {
					time.Sleep(10 * time.Millisecond)
					a, err = t.Invoke("honest", fmt.Sprint(n), t.Patience(20*time.Second))
				}
				if want := fmt.Sprintf("[1, %q, []]", digestOf(n)); err != nil || a.Status != 200 || a.Output != want {
					t.Errorf("an honest client got %+v, %v; want %s", a, err, want)
					return
				}
				h.mu.Lock()
				h.took, h.began = append(h.took, time.Since(start)), append(h.began, start)
				h.mu.Unlock()
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	return h
}

// since is how many requests that began after a moment have been served.
func (h *honest) since(when time.Time) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, began := range h.began {
		if began.After(when) {
			n++
		}
	}
	return n
}

// stop ends the clients and tells what they waited.
func (h *honest) stop() (n int, p50, p99 time.Duration) {
	close(h.over)
	h.wg.Wait()
	slices.Sort(h.took)
	n = len(h.took)
	if n == 0 {
		h.target.Fatal("the honest clients were not served once")
	}
	return n, h.took[n/2], h.took[n*99/100]
}

// TestAttacks: whatever guests and clients try, what holds against it holds, honest
// clients beside them are served right, and when all is over the daemon does what it
// did before, its store is whole, and it ends as it should. It prints what the honest
// clients waited without and beside the attacks.
func TestAttacks(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, "--machines", "4", "--max-wait", "2m", "--target-wait", "2m", "--drain", "20s")
	target := d.attackOn()
	target.Short = !longAttacks
	target.Deploy("honest", honestFunction, attacks.Settings(20, 0))
	h := honestClients(target, 2)
	if longAttacks {
		time.Sleep(20 * time.Second)
	} else {
		time.Sleep(500 * time.Millisecond)
	}
	n, p50, p99 := h.stop()
	t.Logf("honest clients alone: %d requests, p50 %v, p99 %v", n, p50.Round(10*time.Microsecond), p99.Round(10*time.Microsecond))

	h = honestClients(target, 2)
	for _, a := range attacks.All() {
		if a.Run == nil {
			continue
		}
		t.Run(a.Name, func(t *testing.T) {
			under := *target
			under.T = t
			first := time.Now()
			for start := first; ; start = time.Now() {
				a.Run(&under)
				if h.since(start) > 0 || t.Failed() {
					return
				}
				if time.Since(first) > patience(2*time.Minute) {
					t.Error("no request of an honest client was served while this went on")
					return
				} // some are over before one request is
			}
		})
	}
	n, under50, under99 := h.stop()
	t.Logf("beside the attacks:   %d requests, p50 %v, p99 %v: %.1f and %.1f times", n, under50.Round(10*time.Microsecond), under99.Round(10*time.Microsecond),
		float64(under50)/float64(p50), float64(under99)/float64(p99))

	target.Until("nothing of the attackers' runs on", func() bool { return target.Metric("seuss_running") == 0 && target.Metric("seuss_queue_length") == 0 })
	d.want(0, "as they were captured", "snapshot", "verify")
	if strings.Contains(d.log.String(), "panic") {
		t.Error("the daemon's log has a panic")
	}
	if code := d.stop(); code != 0 {
		t.Errorf("exit code %d\n%s", code, d.log)
	}
}

// TestSecurityPageShowsTheAttacks: the table of docs/security.md is that of package
// attacks. SEUSS_UPDATE_TABLES=1 writes it instead.
func TestSecurityPageShowsTheAttacks(t *testing.T) {
	const begin, end = "<!-- attacks: made by make tables -->\n", "<!-- end of attacks -->\n"
	pageShows(t, "../docs/security.md", begin, end, attacks.Table())
	names := map[string]bool{}
	for _, a := range attacks.All() {
		if names[a.Name] || a.Name == "" || a.Tries == "" || a.Holds == "" || a.Run == nil && len(a.Tests) == 0 {
			t.Errorf("attack %+v: a name of its own, what it tries, what holds, and what shows it", a)
		}
		names[a.Name] = true
	}
}

// digestOf is what honestFunction says of a number.
func digestOf(n int) string {
	return fmt.Sprintf("%x", sha256.Sum256(strconv.AppendInt(nil, int64(n), 10)))[:8]
}
