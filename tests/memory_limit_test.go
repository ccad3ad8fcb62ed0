package tests

import (
	"fmt"
	"testing"

	"seuss/dispatcher"
)

// TestMemoryLimitLooksOnly: to be looked at while it runs changes nothing for an
// instance that stays within its memory, whether it computes, writes or sleeps;
// one that does not is ended, and the next is right.
func TestMemoryLimitLooksOnly(t *testing.T) {
	d := open(t, nil)
	deploy(t, d, "limited", `
import hashlib, time
calls = []
def handler(event, context):
    calls.append(1)
    end = time.monotonic() + 0.2
    h, n = hashlib.sha256(), 0
    kept = []
    while n < event["rounds"] or time.monotonic() < end:
        if n < event["rounds"]:
            block = bytes([n & 255]) * 65536
            kept.append(bytearray(block))
            h.update(block)
        n += 1
    time.sleep(0.12)
    for n, block in enumerate(kept):
        assert block == bytes([n & 255]) * 65536
    return [h.hexdigest(), len(calls)]
`, func(s *dispatcher.FunctionSpec) { s.Settings.MemoryMiB = 128 })
	want := ""
	for n := range 6 {
		r := invoke(t, d, "limited", `{"rounds": 640}`) // 40 MiB
		if r.Error != nil {
			t.Fatal(r.Error)
		}
		if want == "" {
			want = string(r.Output)
		}
		if string(r.Output) != want {
			t.Errorf("run %d: %s, want %s", n, r.Output, want)
		}
		if n%2 == 0 {
			r := invoke(t, d, "limited", fmt.Sprintf(`{"rounds": %d}`, 16*140)) // 140 MiB
			if r.Error == nil || r.Error.Type != "Runtime.OutOfMemory" {
				t.Errorf("run %d: %v %s", n, r.Error, r.Output)
			}
		}
	}
	if n := d.Stats().OutOfMemory; n != 3 {
		t.Errorf("%d instances were out of memory, want 3", n)
	}
}
