package samples_test

import (
	"os"
	"os/exec"
	"testing"

	"seuss/tools/seussctl/bench"
	"seuss/tools/seussctl/samples"
)

const python = "/usr/bin/python3"

// The samples run under this host's own Python as they do in a guest.
func TestSamplesAnswer(t *testing.T) {
	if _, err := os.Stat(python); err != nil {
		t.Skipf("the samples need %s: %v", python, err)
	}
	for _, c := range []struct {
		name  string
		code  []byte
		event string
		want  string
	}{
		{"json_hash", samples.JSONHash, `{"text": "The dog and the cat", "top": 1}`,
			`{"answer": {"words": 4, "top": [["the", 2]]}, "sha256": "37cabd1e59c29aabca5b55a12496be4783bd71903e223d3dbf856ee69218eef6"}`},
		{"greet", samples.Greet, `{"name": "A", "items": []}`, `{"greeting": "Hello, A!", "items": [], "count": 0}`},
		{"sort", samples.Sort, `{"name": "a", "items": [2, 1]}`, `{"sorted": "[1, 2]", "name": "A"}`},
		{"table", samples.Table, `{"table": {"rows": 10, "seed": 7}, "query": {"customer": "c000003", "orders": 0}}`, ""},
		{"matrix", samples.Matrix, `{"n": 4}`, `{"n": 4, "exact": true, "sum": 10.0}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.name == "matrix" && exec.Command(python, "-s", "-c", "import numpy").Run() != nil {
				t.Skip("NumPy is not installed")
			}
			b, err := bench.NewPythonCold(bench.Handler{Python: python, Module: c.name, Code: c.code, Event: []byte(c.event)})
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			first, err := b.Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			second, err := b.Run(t.Context())
			if err != nil || string(second) != string(first) {
				t.Errorf("the answer changes: %s, then %s, %v", first, second, err)
			}
			if c.want == "" {
				return
			}
			if same, err := bench.SameJSON(first, []byte(c.want)); err != nil || !same {
				t.Errorf("%s, want %s (%v)", first, c.want, err)
			}
		})
	}
}
