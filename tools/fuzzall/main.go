// Command fuzzall runs every fuzz target of the module for a short while, one
// after the other, as `go test -fuzz` itself can run only one.
//
//	go run ./tools/fuzzall [-time 5s] [packages, default ./...]
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

func main() { os.Exit(run(os.Stdout, os.Stderr, os.Args[1:])) }

func run(stdout, stderr io.Writer, args []string) int {
	flags := flag.NewFlagSet("fuzzall", flag.ContinueOnError)
	flags.SetOutput(stderr)
	duration := flags.String("time", "5s", "how long to fuzz each target")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	packages := flags.Args()
	if len(packages) == 0 {
		packages = []string{"./..."}
	}
	targets, err := list(packages)
	if err != nil {
		fmt.Fprintln(stderr, "fuzzall:", err)
		return 1
	}
	failed := 0
	for _, t := range targets {
		// Minimising an interesting input may take longer than the fuzzing itself.
		cmd := exec.Command("go", "test", "-run", "^$", "-fuzz", "^"+t.name+"$", "-fuzztime", *duration, "-fuzzminimizetime", "10x", t.pkg)
		out, err := cmd.CombinedOutput()
		if err != nil && !endOfTime(out) {
			failed++
			fmt.Fprintf(stderr, "FAIL %s %s: %v\n%s", t.pkg, t.name, err, out)
			continue
		}
		fmt.Fprintf(stdout, "ok   %s %s\n", t.pkg, t.name)
	}
	fmt.Fprintf(stdout, "%d fuzz targets, %d failed\n", len(targets), failed)
	if failed > 0 || len(targets) == 0 {
		return 1
	}
	return 0
}

// endOfTime recognises a run that found nothing and is failed by go test all
// the same: now and then the end of -fuzztime itself is reported as the
// failure "context deadline exceeded" (golang.org/issue/48591). A real finding
// names the input that it has written.
func endOfTime(out []byte) bool {
	text := string(out)
	return strings.Contains(text, "\n    context deadline exceeded\n") && !strings.Contains(text, "Failing input written") &&
		strings.Count(text, "--- FAIL") == 1
}

type target struct{ pkg, name string }

// list asks the test binaries for their fuzz targets.
func list(packages []string) ([]target, error) {
	cmd := exec.Command("go", append([]string{"test", "-run", "^$", "-list", "^Fuzz"}, packages...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("list fuzz targets: %w", err)
	}
	var targets []target
	var names []string
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 1 && strings.HasPrefix(fields[0], "Fuzz"):
			names = append(names, fields[0])
		case len(fields) >= 2 && fields[0] == "ok":
			for _, name := range names {
				targets = append(targets, target{fields[1], name})
			}
			names = nil
		}
	}
	return targets, nil
}
