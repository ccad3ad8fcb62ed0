package tests

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// TestServeLogJSON: every line that a daemon with --log-format json writes is JSON, from
// its first remark to its end; it lives and is ready, which nobody needs a token to see.
func TestServeLogJSON(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, "--log-format", "json")
	d.create("hello", "def handler(e, c):\n    return 1\n", nil)
	d.wantOutput("hello", "{}", "1")
	for _, path := range []string{"/healthz", "/readyz"} {
		r, err := http.Get(d.url + path)
		if err != nil {
			t.Fatal(err)
		}
		if r.Body.Close(); r.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", path, r.Status)
		}
	}
	d.wantMetric(`seuss_function_invocations_total{function="hello",outcome="ok"}`, "1")
	if code := d.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	total := false
	for line := range strings.SplitSeq(strings.TrimSpace(d.log.String()), "\n") {
		var doc map[string]any
		if err := json.Unmarshal([]byte(line), &doc); err != nil {
			t.Errorf("%q: %v", line, err)
		}
		total = total || doc["msg"] == "invocation" && doc["total_ms"] != nil
	}
	if !total {
		t.Errorf("no invocation with its duration: %s", d.log)
	}
}
