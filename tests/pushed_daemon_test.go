package tests

import (
	"strings"
	"testing"
)

// TestPushedSurvives: what a function of a confined daemon has pushed is there after kill -9;
// on a full disk it can be pulled, what is pushed is refused by name, and when there is space it
// is pushed.
func TestPushedSurvives(t *testing.T) {
	t.Parallel()
	c := newCLI(t)
	c.state = smallDisk(t, 100<<20)
	d := &daemon{cli: c, args: []string{"--machines", "1"}}
	d.start()
	t.Cleanup(func() {
		d.kill()
		if t.Failed() {
			t.Logf("the daemon's log:\n%.4000s", d.log)
		}
	})
	d.want(0, "", "function", "deploy", "one", d.file("main.py", sharing), "--share", "orders:rw")
	d.wantOutput("one", `{"do": "push", "with": {"key": "orders/a", "value": "first"}}`, `{"ok": "first"}`)
	d.wantOutput("one", `{"do": "set", "with": {"key": "orders/a", "value": "lost"}}`, `{"ok": 4}`)
	d.kill()
	free := fillDisk(t, d.state)
	d.start()
	for range 2 {
		d.wantOutput("one", `{"do": "get", "with": {"key": "orders/a"}}`, `{"ok": null}`)
		d.wantOutput("one", `{"do": "pull", "with": {"key": "orders/a"}}`, `{"ok": 1}`)
		d.wantOutput("one", `{"do": "get", "with": {"key": "orders/a"}}`, `{"ok": "first"}`)
		out, err := d.invoke(t.Context(), "one", `{"do": "push", "with": {"key": "orders/a", "value": "more"}}`)
		if err != nil || !strings.Contains(string(out.Payload), `"error": "DiskFull"`) {
			t.Errorf("%s, %v", out.Payload, err)
		}
		d.kill()
		d.start()
	}
	free()
	d.wantOutput("one", `{"do": "push", "with": {"key": "orders/a", "value": "second"}}`, `{"ok": "second"}`)
	d.kill()
	d.start()
	d.wantOutput("one", `{"do": "pull", "with": {"key": "orders/a"}}`, `{"ok": 1}`)
	d.wantOutput("one", `{"do": "get", "with": {"key": "orders/a"}}`, `{"ok": "second"}`)
	d.wantOutput("one", `{"do": "forget", "with": {"key": "orders/a"}}`, `{"ok": null}`)
	out, err := d.invoke(t.Context(), "one", `{"do": "pull", "with": {"key": "orders/a"}}`)
	if err != nil || !strings.Contains(string(out.Payload), `"error": "NotFound"`) {
		t.Errorf("%s, %v", out.Payload, err)
	}
}
