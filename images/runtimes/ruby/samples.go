package ruby

import (
	"embed"

	"seuss/images/runtimes"
)

//go:embed samples/*.rb
var sampleFiles embed.FS

func samples() []runtimes.Sample {
	code := func(name string) []byte { return runtimes.Files(sampleFiles, "samples", name)[name] }
	return []runtimes.Sample{
		{Name: "greet", Code: code("greet.rb"), Event: `{"name": "Ada", "items": [3, 1, {"x": [1.5, true, null]}, "four"]}`},
		{
			Name: "table", Code: code("table.rb"), Lazy: true, StopAt: "query",
			Event: `{"table": {"rows": 110000, "seed": 7}, "query": {"customer": "c004711", "orders": 3}}`,
		},
		{Name: "hold", Code: code("hold.rb")},
	}
}
