package replica

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"seuss/dispatcher/functions"
)

// BenchmarkRestart is what a member takes to know what it has of as many functions as
// SEUSS_BENCH_FUNCTIONS says (1,000), beside opening the store, and what one takes in a message.
func BenchmarkRestart(b *testing.B) {
	n, err := strconv.Atoi(os.Getenv("SEUSS_BENCH_FUNCTIONS"))
	if err != nil {
		n = 1000
	}
	dir := b.TempDir()
	store, err := functions.Open(dir, functions.Options{})
	if err != nil {
		b.Fatal(err)
	}
	store.Share("m", nil)
	if _, err := store.Put(functions.Function{Name: "f", Handler: "main.handler", Image: "python"}, []byte("code")); err != nil {
		b.Fatal(err)
	}
	one, err := os.ReadFile(dir + "/functions/f.json")
	if err != nil {
		b.Fatal(err)
	}
	for i := range n { // as Put does, but for the syncs
		name := fmt.Sprintf("function-%07d", i)
		text := []byte(`{"format":4,"name":"` + name + `",` + string(one[len("{\n  \"format\": 4,\n  \"name\": \"f\",\n"):]))
		if err := os.WriteFile(dir+"/functions/"+name+".json", text, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	c, err := functions.Shared{Store: store}.State("function-0000000")
	if err != nil {
		b.Fatal(err)
	}
	message, err := json.Marshal(c)
	if err != nil {
		b.Fatal(err)
	}
	store.Close()
	var open time.Duration
	for b.Loop() {
		began := time.Now()
		if store, err = functions.Open(dir, functions.Options{}); err != nil {
			b.Fatal(err)
		}
		open += time.Since(began)
		r := &Replica{store: functions.Shared{Store: store}}
		for i := range r.families {
			r.families[i] = map[string]*family{}
		}
		if err := r.store.States(func(c *functions.Change) { r.note(c.Key, c) }); err != nil {
			b.Fatal(err)
		}
		if r.Count() != n+1 {
			b.Fatalf("%d of %d", r.Count(), n+1)
		}
		store.Close()
	}
	b.ReportMetric(float64(len(message)), "bytes/function")
	b.ReportMetric(float64(open.Milliseconds())/float64(b.N), "ms-open/op")
}
