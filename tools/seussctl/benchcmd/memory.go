package benchcmd

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"

	"seuss/dispatcher"
	"seuss/dispatcher/api"
	"seuss/dispatcher/http/native/client"
	"seuss/tools/seussctl/bench"
	"seuss/tools/seussctl/cmdline"
	"seuss/tools/seussctl/samples"
)

// holdFirst is how long invocations keep their machines at first, so that each
// needs one of its own. It is doubled until that has come about.
const (
	holdFirst   = 500 * time.Millisecond
	longestHold = 20 * time.Second
)

// memoryReport is what bench memory prints.
type memoryReport struct {
	Platform string                `json:"platform"`
	Rows     []bench.MachineMemory `json:"rows"`
}

func BenchMemory(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:  "memory",
		Usage: "measure what a machine takes of the host, beside what all share",
		Description: `
Makes --machines machines that each have run a small function and stand ready
again, and prints the mean of what each took of the host, by the kernel's own
figures: anonymous memory and memory files of this process and of the guests'
processes, their page tables, and by how much MemAvailable fell, in which KVM's
own memory shows, and whatever else went on on the host. Image and snapshots are
shared by all machines and not counted. With --platform on one platform, so that
two can be compared.`,
		Examples: []string{"seussctl bench memory", "seussctl --platform process bench memory --machines 16 --json"},
		Flags:    []cli.Flag{&cli.IntFlag{Name: "machines", Value: 8, Usage: "`N` machines to take the mean of"}},
		Action: func(c *cli.Context, e *cmdline.Env) error {
			n := c.Int("machines")
			if n < 1 || n > 1000 {
				return cmdline.Usagef(c.Command.HelpName, "--machines %d: want 1 to 1000", n)
			}
			report, err := measureMemory(c.Context, e, n)
			if err != nil {
				return err
			}
			e.Progress.Clear()
			if e.JSON {
				return e.PrintJSON(report)
			}
			return printMemory(e.Stdout, report)
		},
	})
}

func measureMemory(ctx context.Context, e *cmdline.Env, n int) (*memoryReport, error) {
	e.OwnState("bench")
	if err := e.FreshImages(ctx, e.OtherRuntimes()...); err != nil {
		return nil, err
	}
	report := &memoryReport{}
	functions := []dispatcher.FunctionSpec{sample("hold", samples.Hold, false, nil)}
	for _, r := range e.BuiltRuntimes() {
		functions = append(functions, SampleOf(r, r.Name+"-hold", r.Sample("hold").Code, false, nil))
	}
	for _, f := range functions {
		err := e.WithEngine(dispatcher.Options{PoolSize: n + 1, HugePages: e.HugePages}, func(d cmdline.Service) error {
			row, err := machineMemory(ctx, e, d, f, n, &report.Platform)
			report.Rows = append(report.Rows, row)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return report, nil
}

// machineMemory measures with one machine, and again with n more.
func machineMemory(ctx context.Context, e *cmdline.Env, d cmdline.Service, f dispatcher.FunctionSpec, n int, platform *string) (row bench.MachineMemory, err error) {
	if _, served := d.(*client.Client); served {
		return row, cmdline.ErrServed
	}
	e.Progress.Step("deploying "+f.Name, -1)
	if _, err := d.Deploy(ctx, f); err != nil {
		return row, err
	}
	invoke := func(hold time.Duration) error {
		r, err := d.Invoke(ctx, dispatcher.Request{Function: f.Name, Event: fmt.Appendf(nil, `{"hold": %g}`, hold.Seconds())})
		if err == nil && r.Error != nil {
			err = r.Error
		}
		if err == nil {
			*platform = r.Platform
		}
		return err
	}
	if err := invoke(0); err != nil {
		return row, err
	}
	first, err := settledMachines(ctx, d)
	if err != nil {
		return row, err
	}
	before, err := bench.ReadHostMemory()
	if err != nil {
		return row, err
	}
	machines, want := first, n+1
	for hold := holdFirst; machines < want; hold *= 2 {
		if hold > longestHold {
			return row, fmt.Errorf("%d machines were wanted, %d came about", want, machines)
		}
		e.Progress.Step(fmt.Sprintf("running %s on %d machines", f.Name, want), -1)
		var g errgroup.Group
		for range want {
			g.Go(func() error { return invoke(hold) })
		}
		if err := g.Wait(); err != nil {
			return row, err
		}
		if machines, err = settledMachines(ctx, d); err != nil {
			return row, err
		}
	}
	if machines == first {
		return row, fmt.Errorf("all %d machines were made before the measurement: ask for more with --machines", first)
	}
	after, err := bench.ReadHostMemory()
	if err != nil {
		return row, err
	}
	return bench.PerMachine(f.Name, before, after, machines-first), nil
}

// settledMachines waits until all machines stand ready and returns how many
// there are.
func settledMachines(ctx context.Context, d api.Pools) (int, error) {
	for {
		total, ready := 0, 0
		list, err := d.Pools(ctx)
		if err != nil {
			return 0, err
		}
		for _, p := range list {
			total += p.Machines
			ready += p.Ready
		}
		if total == ready {
			return total, nil
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func printMemory(w io.Writer, r *memoryReport) error {
	t := cmdline.NewTable("FUNCTION", ">MACHINES", ">ANONYMOUS", ">MEMORY FILES", ">PAGE TABLES", ">TOTAL", ">OF THE HOST", ">PROCESSES", ">DESCRIPTORS")
	bytes := func(v float64) string { return cmdline.FormatBytes(uint64(max(v, 0))) }
	for _, m := range r.Rows {
		t.Row(m.Function, fmt.Sprint(m.Machines), bytes(m.Anonymous), bytes(m.MemoryFiles), bytes(m.PageTables), bytes(m.Total), bytes(m.Host),
			cmdline.FormatRatio(m.Processes), cmdline.FormatRatio(m.Files))
	}
	if err := t.Print(w); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\nOf each machine, on platform %s, beside the image and the snapshots that all share.\n", r.Platform)
	return err
}
