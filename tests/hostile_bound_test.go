package tests

import (
	"context"
	"testing"
	"time"

	"seuss/dispatcher"
)

// hoarder fills memory when it is imported, so that its snapshot's file lies there, and
// then has the monitor look at all of it, again and again, for as long as it is let.
const hoarder = forge + `
GIVE, GIVE_GPA, RANGES = 0x30, 20, 256
hoard = bytearray(os.urandom(24 << 20))
def handler(event, context):
    at = ctypes.addressof(ctypes.c_char.from_buffer(hoard))
    first, count = (at + 4095) // 4096, (len(hoard) - 4096) // 4096
    ctypes.memmove(control(GIVE_GPA), struct.pack("<QQ", first, count) * RANGES, 16 * RANGES)
    for i in range(event["rings"]): ring(GIVE, RANGES)
    return "done"
`

// TestGiveListsKeepTheTimeout: what a function rings takes the monitor's time, and the
// function's timeout ends that too. With as many rings as here a monitor that does not
// look in between would be busy for minutes, and answer then.
func TestGiveListsKeepTheTimeout(t *testing.T) {
	d := open(t, func(o *dispatcher.Options) { o.PoolSize = 1 })
	deploy(t, d, "hoarder", hoarder, nil)
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
