package tests

import (
	"context"
	"testing"
	"time"

	"seuss/dispatcher"
	"seuss/tests/attacks"
)

// TestGiveListsKeepTheTimeout: what a function rings takes the monitor's time, and the
// function's timeout ends that too. With as many rings as here a monitor that does not
// look in between would be busy for minutes, and answer then.
func TestGiveListsKeepTheTimeout(t *testing.T) {
	d := open(t, func(o *dispatcher.Options) { o.PoolSize = 1 })
	deploy(t, d, "hoarder", attacks.EndlessLists, nil)
	deploy(t, d, "sound", soundFunction, nil)
	want := checkSound(t, d)
	r, err := d.Invoke(context.Background(), dispatcher.Request{Function: "hoarder", Event: []byte(`{"rings": 100}`), Timeout: patience(time.Second)})
	if kind, text := outcome(r, err); kind != "timeout" {
		t.Errorf("it ended with %s %q, want its timeout", kind, text)
	}
	if got := checkSound(t, d); got != want {
		t.Errorf("the next invocation gave %s, want %s", got, want)
	}
}
