package plancmd

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher/api"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/plan"
	"seuss/dispatcher/planner"
	"seuss/lineage"
	"seuss/tools/seussctl/cmdline"
)

func planHistory(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:  "history",
		Usage: "print what functions import, as a trace",
		Description: `
A line for each function whose imports are known, with how often its snapshots were used:
what plan fit --train reads, with --json and without. Code that was called and is gone,
replaced or removed, has a line too, the newest of it. Functions measure themselves and
could forge it. Functions whose runtime does not tell are left out.`,
		Examples: []string{
			"seussctl plan history >trace.jsonl",
			"seussctl plan history --packages-out packages.json --deps-out deps.jsonl >trace.jsonl",
		},
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "packages-out", Usage: "write the measured costs of packages to `FILE`"},
			&cli.StringFlag{Name: "deps-out", Usage: "write what packages depend on to `FILE`"},
			deployedFlag(),
		},
		Action: func(c *cli.Context, e *cmdline.Env) error {
			h, err := history(c, e)
			if err != nil {
				return err
			}
			if err := errors.Join(write(c.String("packages-out"), h.WriteCosts), write(c.String("deps-out"), h.WriteDependencies)); err != nil {
				return err
			}
			return h.WriteTrace(e.Stdout)
		},
	})
}

// deployedFlag leaves code out that is gone.
func deployedFlag() cli.Flag {
	return &cli.BoolFlag{DisableDefaultText: true, Name: "deployed", Usage: "of the functions that are deployed now alone, not of code that is gone"}
}

// history asks the daemon, or reads the state directory.
func history(c *cli.Context, e *cmdline.Env) (*plan.History, error) {
	var list []plan.Loaded
	unknown := 0
	err := e.Reading(func(r cmdline.Reader) error {
		deployed, err := r.Functions(c.Context)
		if err != nil {
			e.Notef("some functions cannot be read: %v", err)
		}
		list, unknown = loadedOf(deployed)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if unknown > 0 {
		e.Notef("%d functions are left out: what they import is not known", unknown)
	}
	if !c.Bool("deployed") {
		gone, damaged, err := planner.ReadGone(e.StateDir)
		if errors.Is(err, fs.ErrPermission) { // who asks a daemon need not be who may read its files
			e.Notef("code that is gone is left out: %v", err)
		} else if err != nil {
			return nil, err
		}
		if damaged > 0 {
			e.Notef("%d lines about code that is gone cannot be read and are left out", damaged)
		}
		list = append(list, gone...)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("of no deployed function it is known what it imports: deploy some, with an image that was built by this release: %w", lineage.ErrNotFound)
	}
	return plan.NewHistory(list)
}

// loadedOf returns the functions whose imports are known, each code of a function once,
// and how many others there are.
func loadedOf(deployed []api.Function) (list []plan.Loaded, unknown int) {
	type code struct{ base, digest string }
	seen := map[code]bool{}
	for _, f := range deployed {
		key := code{functions.BaseName(f.Name), f.CodeDigest}
		if seen[key] {
			continue // a version with the code of another: its snapshots, and so hits, are these
		}
		seen[key] = true
		if f.Loaded == nil {
			unknown++
			continue
		}
		list = append(list, planner.LoadedOf(f.Name, f.Hits, f.Loaded))
	}
	return list, unknown
}

// write writes a file, if one is wanted.
func write(path string, how func(io.Writer) error) error {
	if path == "" {
		return nil
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := errors.Join(how(f), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
