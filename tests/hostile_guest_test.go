package tests

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode"

	"seuss/dispatcher"
	"seuss/dispatcher/api"
	"seuss/lineage"
	"seuss/tests/attacks"
)

// outcome names how an invocation ended, and with which words.
func outcome(r *dispatcher.Result, err error) (kind, text string) {
	var crash *dispatcher.CrashError
	switch {
	case err != nil:
		return "host", err.Error()
	case r.Error == nil:
		return "ok", string(r.Output)
	case errors.Is(r.Error, dispatcher.ErrTimeout):
		return "timeout", r.Error.Message
	case errors.As(r.Error, &crash):
		return "crash", r.Error.Message
	case errors.Is(r.Error, dispatcher.ErrGuestExit):
		return "exit", r.Error.Message
	case r.Error.Type == "Runtime.ExitError":
		return "died", r.Error.Message
	}
	return "function", r.Error.Type + " " + r.Error.Message
}

func allowed(ways, kind, text string) bool {
	return slices.ContainsFunc(strings.Split(ways, "|"), func(way string) bool {
		want, words, _ := strings.Cut(way, ":")
		return want == kind && strings.Contains(text, words)
	})
}

// TestHostileGuests: whatever a guest forges, its own invocation ends with one
// clear line, the next one is right, other instances run on undisturbed, and
// not a byte of a blob changes.
func TestHostileGuests(t *testing.T) {
	t.Parallel()
	d := openOwn(t, func(o *dispatcher.Options) { o.PoolSize = 2 })
	forgeries := attacks.AllForgeries()
	deploy(t, d, "forge", forgeries.Source(), nil)
	deploy(t, d, "sound", soundFunction, nil)
	want := checkSound(t, d)
	blobs := blobDigests(t, d)

	// A neighbour runs all the time beside the hostile instances.
	var over atomic.Bool
	var neighbours sync.WaitGroup
	neighbours.Go(func() {
		for n := 0; !over.Load(); n++ {
			r, err := d.Invoke(context.Background(), dispatcher.Request{Function: "sound", Event: []byte("{}"), Timeout: 20 * time.Second})
			if kind, text := outcome(r, err); kind != "ok" || text != want {
				t.Errorf("the neighbour's invocation %d: %s %s", n, kind, text)
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	})
	for _, name := range slices.Sorted(maps.Keys(forgeries)) {
		t.Run(name, func(t *testing.T) {
			limit := patience(attacks.Limit(forgeries[name]))
			start := time.Now()
			r, err := d.Invoke(context.Background(), dispatcher.Request{Function: "forge", Event: []byte(`{"attack": "` + name + `"}`), Timeout: limit})
			took := time.Since(start)
			kind, text := outcome(r, err)
			t.Logf("%v: %s %s", took.Round(time.Millisecond), kind, text)
			if !allowed(forgeries[name][1], kind, text) {
				t.Errorf("it ended with %s %q, want %s", kind, text, forgeries[name][1])
			}
			checkOneLine(t, text)
			if r != nil {
				n := 0
				for _, l := range r.Logs {
					n += len(l.Text)
				}
				if n > 2<<20 {
					t.Errorf("%d bytes of logs", n)
				}
			}
			if got := checkSound(t, d); got != want {
				t.Errorf("the next invocation gave %s, want %s", got, want)
			}
		})
	}
	over.Store(true)
	neighbours.Wait()
	checkBlobs(t, d, blobs)
}

// soundFunction notices whether its memory, clock, generators or files are not
// those of a fresh instance.
const soundFunction = `
import hashlib, json, os, time, threading
calls = []
table = hashlib.sha256(b"".join(hashlib.sha256(b"%d" % n).digest() for n in range(2000))).hexdigest()
def handler(event, context):
    calls.append(1)
    again = hashlib.sha256(b"".join(hashlib.sha256(b"%d" % n).digest() for n in range(2000))).hexdigest()
    return [len(calls), table == again, len(set(os.urandom(8) for _ in range(8))), sorted(os.listdir("/tmp")), threading.active_count(),
            hashlib.sha256(json.__file__.encode() + open(json.__file__, "rb").read()).hexdigest(), abs(time.time() - context.deadline_ms / 1e3) < 30]
`

func checkSound(t testing.TB, d *dispatcher.Dispatcher) string {
	t.Helper()
	// The function compares its deadline with the clock: no patience here.
	r, err := d.Invoke(context.Background(), dispatcher.Request{Function: "sound", Event: []byte("{}"), Timeout: 20 * time.Second})
	if err != nil {
		t.Fatalf("invoke sound: %s", describe(err))
	}
	if got := string(output[jsonText](t, r)); !strings.HasPrefix(got, "[1, true, 8, [], 1, ") || !strings.HasSuffix(got, "true]") {
		t.Errorf("the instance of a sound function was not fresh: %s", got)
	}
	return string(r.Output)
}

// jsonText is JSON that is kept as it is.
type jsonText string

func (j *jsonText) UnmarshalJSON(b []byte) error { *j = jsonText(b); return nil }

// checkOneLine: an error is one printable line.
func checkOneLine(t testing.TB, text string) {
	t.Helper()
	if i := strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
		t.Errorf("the error is not one printable line: %q", text)
	}
}

func checkBlobs(t *testing.T, d *dispatcher.Dispatcher, before map[string][32]byte) {
	t.Helper()
	for path, digest := range blobDigests(t, d) {
		if old, known := before[path]; known && old != digest {
			t.Errorf("%s changed", path)
		}
	}
	for _, node := range d.Store().List() {
		if err := d.Store().Inspect().Verify(node.Info.ID); err != nil {
			t.Errorf("verify: %v", err)
		}
	}
}

// TestHostileQuestions: a function with lazy arguments that asks without end
// takes no more of the host than a bounded number of keys.
func TestHostileQuestions(t *testing.T) {
	t.Parallel()
	d := openOwn(t, func(o *dispatcher.Options) { o.PoolSize, o.AutoArguments = 1, true })
	deploy(t, d, "sound", soundFunction, nil)
	want := checkSound(t, d)
	for name, key := range attacks.Questions {
		deploy(t, d, "asks", attacks.QuestionSource(key), lazy)
		limit := patience(3 * time.Second)
		if name == "large-keys" { // which ends by itself, on a busy host later
			limit = patience(20 * time.Second)
		}
		r, err := d.Invoke(context.Background(), dispatcher.Request{Function: "asks", Event: []byte("{}"), Timeout: limit})
		kind, text := outcome(r, err)
		t.Logf("%s: %s %s", name, kind, text)
		if !allowed("died:it has asked for|timeout", kind, text) || name == "large-keys" && kind != "died" {
			t.Errorf("%s: it ended with %s %s", name, kind, text)
		}
		if got := checkSound(t, d); got != want {
			t.Errorf("the next invocation gave %s, want %s", got, want)
		}
	}
}

// TestHostileModules: code that forges while it is deployed, so that what it
// left is captured. Either the deployment fails with one line, or the function
// harms nobody but itself.
func TestHostileModules(t *testing.T) {
	t.Parallel()
	d := openOwn(t, func(o *dispatcher.Options) { o.PoolSize = 2 })
	deploy(t, d, "sound", soundFunction, nil)
	want := checkSound(t, d)
	for name, module := range attacks.ForgedModules {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), patience(2*time.Second))
			defer cancel()
			_, err := d.Deploy(ctx, dispatcher.FunctionSpec{Name: name, Handler: "main.handler", Files: map[string][]byte{
				"main.py": []byte(module.Source())}})
			if err == nil {
				for range 2 {
					r, err := d.Invoke(context.Background(), dispatcher.Request{Function: name, Event: []byte("{}"), Timeout: patience(300 * time.Millisecond)})
					kind, text := outcome(r, err)
					t.Logf("deployed, then: %s %s", kind, text)
					if kind == "host" {
						t.Errorf("its failure is taken for the host's: %s", text)
					}
					checkOneLine(t, text)
				}
			} else {
				t.Log(err)
				if api.FaultOf(err).Code == api.Failed && !errors.Is(err, context.DeadlineExceeded) { // ours
					t.Errorf("its failure is taken for the host's: %v", err)
				}
				text, _, _ := strings.Cut(err.Error(), "\n")
				checkOneLine(t, text)
				if _, err := d.FunctionStore().Get(name); !errors.Is(err, lineage.ErrNotFound) {
					t.Errorf("the deployment failed and left the function: %v", err)
				}
			}
			if got := checkSound(t, d); got != want {
				t.Errorf("the next invocation gave %s, want %s", got, want)
			}
		})
	}
}
