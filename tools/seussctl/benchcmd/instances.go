package benchcmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/instances"
	"seuss/tools/seussctl/bench"
	"seuss/tools/seussctl/cmdline"
	"seuss/tools/seussctl/samples"
)

const (
	sleeperName = "sleeper"
	sleeperCode = "import time\ndef handler(event, context):\n    time.sleep(event)\n    return event\n"
	// sleepLimit is what each of those that sleep may take beyond that, in zygote's p50s: all
	// of ten thousand may take six thousand.
	sleepLimit = 0.6
	// sleepBytes is what each may take of memory.
	sleepBytes = 64 << 10
)

// instancesReport is what bench instances prints.
type instancesReport struct {
	Sleepers *bench.Sleepers `json:"sleepers"`
	Children *bench.Children `json:"children,omitempty"`
	Zygote   float64         `json:"zygote_p50_us"`
	Forks    *forksReport    `json:"forks,omitempty"`
}

func BenchInstances(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:  "instances",
		Usage: "measure instances that wait without a machine",
		Description: `
Starts a daemon with its defaults on a state directory of its own, and has --sleepers
invocations at once, each over a connection of its own, of a Python function that sleeps:
how many are answered, after what time, and what the daemon takes of the host's memory for
each that waits. Beside them children of a Python process, --children or as many as fit,
that sleep as long. With --forks copies of a live interpreter, in this process: what
forks, rollbacks and a search of --branches take beside a process that forks; without
--sleepers only that.`,
		Examples: []string{"seussctl bench instances --sleepers 10000", "seussctl bench instances --sleepers 1000 --seconds 5 --json", "seussctl bench instances --sleepers 0 --forks 100 --branches 10000"},
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "sleepers", Value: 1000, Usage: "`N` invocations at once"},
			&cli.Float64Flag{Name: "seconds", Value: 10, Usage: "each sleeps for `N` seconds"},
			&cli.IntFlag{Name: "children", Value: 1000, Usage: "`N` children of a Python process; 0: none"},
			&cli.IntFlag{Name: "forks", Usage: "`N` copies of a live interpreter (default: none)"},
			&cli.IntFlag{Name: "branches", Usage: "search a tree of `N` branches (default: none)"},
			&cli.StringFlag{Name: "daemon", Usage: "further `FLAGS` of the daemon, separated by spaces"},
		},
		Action: func(c *cli.Context, e *cmdline.Env) error {
			n, seconds := c.Int("sleepers"), c.Float64("seconds")
			forks, branches := c.Int("forks"), c.Int("branches")
			if forks < 0 || forks > instances.MaxFork || branches < 0 || branches > 100_000 || branches > 0 && forks == 0 {
				return cmdline.Usagef(c.Command.HelpName, "--forks %d, --branches %d: want up to %d forks, and with some up to 100,000 branches", forks, branches, instances.MaxFork)
			}
			if n < 1 && forks == 0 || n < 0 || n > 1_000_000 {
				return cmdline.Usagef(c.Command.HelpName, "--sleepers %d: want 1 to 1,000,000", n)
			}
			if seconds <= 0 || seconds > 50 {
				return cmdline.Usagef(c.Command.HelpName, "--seconds %g: want more than 0, and 50 at most", seconds)
			}
			if c.Int("children") < 0 {
				return cmdline.Usagef(c.Command.HelpName, "--children %d: want 0 or more", c.Int("children"))
			}
			e.OwnState("bench-instances")
			report := &instancesReport{}
			var err error
			if forks > 0 {
				if err = e.FreshImages(c.Context); err == nil {
					report.Forks, err = measureForks(c.Context, e, forks, branches)
				}
			}
			if err != nil {
				return err
			}
			if n == 0 {
				e.Progress.Clear()
				if e.JSON {
					return e.PrintJSON(report)
				}
				return printForks(e.Stdout, report.Forks)
			}
			err = withServed(c, e, strings.Fields(c.String("daemon")), func(s *bench.Served) error {
				return measureSleepers(c.Context, e, s, n, seconds, c.Int("children"), report)
			})
			if err != nil {
				return err
			}
			e.Progress.Clear()
			if e.JSON {
				return e.PrintJSON(report)
			}
			if err := printInstances(e.Stdout, report); err != nil || report.Forks == nil {
				return err
			}
			fmt.Fprintln(e.Stdout)
			return printForks(e.Stdout, report.Forks)
		},
	})
}

func measureSleepers(ctx context.Context, e *cmdline.Env, s *bench.Served, n int, seconds float64, children int, report *instancesReport) error {
	e.Progress.Step("measuring the zygote", -1)
	zygote, err := bench.NewZygote(ctx, samples.Zygote, bench.Handler{Python: python, Module: "greet", Code: samples.Greet, Event: []byte(benchEvent)})
	if err != nil {
		return err
	}
	var took []time.Duration
	for range 200 {
		began := time.Now()
		if _, err := zygote.Run(ctx); err != nil {
			return errors.Join(err, zygote.Close())
		}
		took = append(took, time.Since(began))
	}
	if err := zygote.Close(); err != nil {
		return err
	}
	slices.Sort(took)
	report.Zygote = float64(took[len(took)/2]) / float64(time.Microsecond)
	e.Progress.Step("making machines", -1)
	if _, err := s.Sleep(ctx, sleeperName, 64, 0.5); err != nil { // so that the machines are there
		return err
	}
	e.Progress.Step(fmt.Sprintf("%d sleep", n), -1)
	if report.Sleepers, err = s.Sleep(ctx, sleeperName, n, seconds); err != nil {
		return err
	}
	report.Sleepers.Limit = seconds + sleepLimit*float64(n)*report.Zygote/1e6
	if children == 0 {
		return nil
	}
	e.Progress.Step("forking children", -1)
	report.Children, err = bench.SleepForked(ctx, python, children, seconds)
	return err
}

func printInstances(w io.Writer, r *instancesReport) error {
	s, c := r.Sleepers, r.Children
	t := cmdline.NewTable("", ">N", ">ANSWERED", ">TOOK", ">MEMORY EACH")
	t.Row("invocations that sleep", fmt.Sprint(s.N), fmt.Sprint(s.Answered), fmt.Sprintf("%.2f s", s.Took), cmdline.FormatBytes(uint64(max(s.Bytes, 0))))
	if c != nil {
		t.Row("children that sleep", fmt.Sprint(c.N), fmt.Sprint(c.N), fmt.Sprintf("%.2f s", c.Took), cmdline.FormatBytes(uint64(max(c.Bytes, 0))))
	}
	if err := t.Print(w); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w, "\n%d were parked at a time, %s of each its own pages, registers and streams. %d were refused.\n", s.Parked, cmdline.FormatBytes(uint64(s.Own)), s.Refused); err != nil {
		return err
	}
	if s.Failed != "" {
		if _, err := fmt.Fprintf(w, "Not answered, the first: %s\n", s.Failed); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	yes := func(met bool) string {
		if met {
			return "yes"
		}
		return "no"
	}
	t = cmdline.NewTable("BAR", ">MEASURED", ">LIMIT", "MET")
	t.Row("refused or failed", fmt.Sprint(s.N-s.Answered), "0", yes(s.Answered == s.N))
	t.Row("all answered (the limit: the sleep and 0.6 zygote p50 each)", fmt.Sprintf("%.2f s", s.Took), fmt.Sprintf("%.2f s", s.Limit), yes(s.Took <= s.Limit))
	t.Row("resident memory of each that waits", cmdline.FormatBytes(uint64(max(s.Bytes, 0))), cmdline.FormatBytes(sleepBytes), yes(s.Bytes <= sleepBytes))
	return t.Print(w)
}

// withServed starts a daemon of its own with the function deployed, and ends it.
func withServed(c *cli.Context, e *cmdline.Env, flags []string, f func(*bench.Served) error) (err error) {
	ctx := c.Context
	if err := e.FreshImages(ctx); err != nil {
		return err
	}
	err = e.WithEngine(dispatcher.Options{}, func(d cmdline.Service) error {
		e.Progress.Step("deploying "+sleeperName, -1)
		spec := sample(sleeperName, []byte(sleeperCode), false, nil)
		spec.Settings = functions.Settings{TimeoutSec: 60}
		_, err := d.Deploy(ctx, spec)
		return err
	})
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	args := []string{"--state", e.StateDir, "--json"}
	if name := c.String("platform"); name != "" {
		args = append(args, "--platform", name)
	}
	args = append(append(args, "serve", "--listen", "127.0.0.1:0", "--log-level", "error"), flags...)
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.Stderr = e.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() {
		if ended := cmd.Process.Signal(os.Interrupt); ended == nil {
			err = errors.Join(err, cmd.Wait())
		}
	}()
	var doc struct {
		Listening []string `json:"listening"`
		TokenFile string   `json:"token_file"`
	}
	if err := json.NewDecoder(out).Decode(&doc); err != nil {
		return fmt.Errorf("the daemon does not come up: %w", err)
	}
	s := &bench.Served{PID: cmd.Process.Pid}
	for _, name := range doc.Listening {
		if _, address, ok := strings.Cut(name, "http://"); ok {
			s.Address = address
		}
	}
	token, err := os.ReadFile(filepath.Clean(doc.TokenFile))
	if err != nil {
		return err
	}
	s.Token = strings.TrimSpace(string(token))
	return f(s)
}
