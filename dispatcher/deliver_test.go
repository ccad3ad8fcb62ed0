package dispatcher

import (
	"context"
	"errors"
	"testing"
	"time"
)

// TestDeliver checks that a result is delivered once, before the machine is reset,
// that the machine is reset when Invoke returns, and that what Invoke returns is the
// same result.
func TestDeliver(t *testing.T) {
	d := openBench(t, "f")
	slow := FunctionSpec{Name: "slow", Handler: "main.handler", Files: map[string][]byte{"main.py": []byte("import time\n\ndef handler(event, context):\n    time.sleep(60)\n")}}
	if _, err := d.Deploy(context.Background(), slow); err != nil {
		t.Fatal(err)
	}
	timeoutOf := map[string]time.Duration{"f": time.Minute, "slow": 50 * time.Millisecond}
	for _, c := range []struct {
		name, function, event, failure string
		path                           StartPath
		resets                         int
	}{
		{"a result", "f", `{"n": 1}`, "", "", 1},
		{"a function's error", "f", `{}`, "KeyError", "", 1},
		{"a cold start, whose machine is its own", "f", `{"n": 1}`, "", PathCold, 0},
		{"no time", "slow", `{}`, "Sandbox.Timedout", "", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			var delivered []*Result
			resets := 0
			got, err := d.Invoke(context.Background(), Request{
				Function: c.function, Event: []byte(c.event), MaxPath: c.path, Timeout: timeoutOf[c.function],
				Deliver: func(r *Result) bool {
					if resets > 0 {
						t.Error("delivered after the reset")
					}
					delivered = append(delivered, r)
					return true
				},
				OnReset: func(Reset) { resets++ }, // by this goroutine, or the race detector tells
			})
			if err != nil {
				t.Fatal(err)
			}
			if len(delivered) != 1 || delivered[0] != got || resets != c.resets {
				t.Errorf("delivered %v, returned %p, %d resets", delivered, got, resets)
			}
			failure := ""
			if got.Error != nil {
				failure = got.Error.Type
			}
			if failure != c.failure || failure == "" && len(got.Output) == 0 || got.Timings.Total <= 0 {
				t.Errorf("%+v, error %q", got, failure)
			}
		})
	}
	others := make(chan Reset, 1)
	_, err := d.Invoke(context.Background(), Request{
		Function: "f", Event: []byte(`{"n": 1}`),
		Deliver: func(*Result) bool { return false },
		OnReset: func(r Reset) { others <- r },
	})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-others:
	case <-time.After(time.Minute):
		t.Error("nobody resets the machine")
	}
	_, err = d.Invoke(context.Background(), Request{Function: "nobody", Event: []byte(`{}`), Deliver: func(*Result) bool { t.Error("delivered"); return false }})
	if !errors.Is(err, ErrUnknownFunction) {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_, err = d.Invoke(ctx, Request{Function: "slow", Event: []byte(`{}`), Deliver: func(*Result) bool { t.Error("delivered"); return false }})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}
