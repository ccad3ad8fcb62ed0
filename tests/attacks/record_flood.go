package attacks

import (
	_ "embed"
	"time"
)

//go:embed record_flood.py
var recordFlood string

func init() {
	add(Attack{
		Name:  "record-flood",
		Tries: "A function writes a byte at a time, to its two outputs in turn, so that each is a record of its own",
		Holds: "output is bounded by bytes and by records, and the answer is of a size with them",
		Tests: []string{"TestLinesAreBounded", "TestErrorsAreBounded", "TestLoggedErrorsAreBounded"},
		Run: func(t *Target) {
			t.Deploy("record-flood", recordFlood, Settings(60, 0))
			status, body, err := t.Call("POST", "/v1/functions/record-flood/invoke", map[string]any{"event": t.few(1<<19, 1<<15), "timeout_ms": t.Patience(time.Minute).Milliseconds()})
			if err != nil || status != 200 || len(body) > 6<<20 {
				t.Errorf("%d, %d bytes, %v", status, len(body), err)
			}
			t.Logf("an answer of %d bytes", len(body))
		},
	})
}
