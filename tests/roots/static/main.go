// Program static is the only file of a root: it hashes its input in many goroutines.
package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

func main() {
	input, err := io.ReadAll(os.Stdin)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	sums := make([]string, 60)
	var wait sync.WaitGroup
	for i := range sums {
		wait.Go(func() { sums[i] = fmt.Sprintf("%x", sha256.Sum256(fmt.Append(input, i)))[:8] })
	}
	wait.Wait()
	_, zone := time.LoadLocation("Europe/Zurich")
	names, _ := os.ReadDir("/")
	app := false
	for _, n := range names {
		app = app || n.Name() == "app"
	}
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode(map[string]any{"bytes": len(input), "sums": sums, "zones": zone == nil, "app": app}); err != nil {
		os.Exit(1)
	}
}
