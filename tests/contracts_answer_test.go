package tests

import (
	_ "embed"
	"encoding/json"
	"testing"

	"seuss/dispatcher"
)

//go:embed testdata/contracts/bootstrap.py
var bootstrap []byte

// TestContractsAnswer: over each contract a program is captured and answers twice, as if it
// had just started.
func TestContractsAnswer(t *testing.T) {
	b := newContractBench(t)
	for _, c := range []struct {
		contract, event, want string
		files                 map[string][]byte
		change                func(*dispatcher.FunctionSpec)
		command               []string
	}{
		{"program", `{"a": 1}`, `{"count": 1, "keys": ["a"]}`, nil, nil, []string{"/usr/bin/python3", "-c",
			"import json, sys\ncount = 0\nevent = json.load(sys.stdin)\ncount += 1\nprint(json.dumps({'count': count, 'keys': sorted(event)}))"}},
		{"runtimeapi", `{"do": "stream"}`, `{"parts": 2}`, map[string][]byte{"bootstrap": bootstrap}, nil, []string{"bootstrap"}},
		{"http", `{"version": "2.0", "rawPath": "/x", "requestContext": {"http": {"method": "GET"}}}`, `"GET /x None 0 1"`, map[string][]byte{"app.py": []byte(serverFunction)},
			func(s *dispatcher.FunctionSpec) { s.Settings.Program.Port = 8080 }, []string{"/usr/bin/python3", "app.py"}},
	} {
		if err := b.deploy(c.contract, c.contract, c.change, c.files, c.command...); err != nil {
			t.Fatal(c.contract, err)
		}
		for range 2 {
			r := invoke(t, b.Dispatcher, c.contract, c.event)
			if r.Error != nil || r.Path != dispatcher.PathFunction {
				t.Fatalf("%s: %v, from %s", c.contract, r.Error, r.Path)
			}
			got := r.Output
			if c.contract == "http" {
				got = output[map[string]json.RawMessage](t, r)["body"]
			}
			if !sameJSON(got, []byte(c.want)) {
				t.Errorf("%s: %s, want %s", c.contract, r.Output, c.want)
			}
		}
	}
}
