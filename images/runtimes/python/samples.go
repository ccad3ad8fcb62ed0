package python

import (
	"embed"

	"seuss/images/runtimes"
)

//go:embed samples/*.py
var sampleFiles embed.FS

func samples() []runtimes.Sample {
	code := func(name string) []byte { return runtimes.Files(sampleFiles, "samples", name)[name] }
	return []runtimes.Sample{
		// Parses, searches, hashes and re-encodes JSON.
		{
			Name: "json-hash", Code: code("json_hash.py"), Imports: []string{"json", "re", "hashlib"},
			Event: `{"text": "The quick brown fox jumps over the lazy dog, and the dog sleeps on", "top": 3}`,
		},
		// Solves linear equations.
		{
			Name: "matrix", Code: code("matrix.py"), Imports: []string{"numpy"}, Event: `{"n": 60}`,
			Needs: numpyDir, Lacking: "NumPy (apt-get install python3-numpy, then seussctl image build)",
		},
		{
			Name: "table", Code: code("table.py"), Imports: []string{"hashlib"}, Lazy: true, StopAt: "query",
			Event: `{"table": {"rows": 110000, "seed": 7}, "query": {"customer": "c004711", "orders": 3}}`,
		},
		{Name: "greet", Code: code("greet.py")},
		// A second one of greet's size, to switch to.
		{Name: "sort", Code: code("sort.py")},
		// Does much at its first use, to show what a warm-up buys.
		{Name: "invoice", Code: code("invoice.py")},
		// Workers that share a matrix and weights.
		{Name: "sgd", Code: code("sgd.py"), Imports: []string{"numpy"}, Needs: numpyDir, Lacking: "NumPy (apt-get install python3-numpy, then seussctl image build)"},
		{Name: "hold", Code: code("hold.py")},
	}
}
