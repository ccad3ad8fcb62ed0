package benchcmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher/instance"
	"seuss/images"
	"seuss/images/source"
	"seuss/tools/seussctl/bench"
	"seuss/tools/seussctl/cmdline"
	"seuss/vmm/platform"
)

func BenchGuest(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:  "guest",
		Usage: "compare programs in a guest with the same programs natively",
		Description: `
Runs a C program, compiled with gcc, and the runtimes whose images exist (build them
with image build) on the host and in a guest, in turns: the time from the start to the first statement of the program, the making of
the machine, the time from start to end, the cost of system calls and switches,
memory, and computing. Figures are the best of all rounds. EXCESS is by how much calls
take longer than natively beyond what as many calls that do nothing take in the guest;
WITHIN says whether that is no time at all, and of the start to main, whether it takes
no longer than natively.`,
		Examples: []string{"seussctl bench guest", "seussctl bench guest --rounds 5 --json"},
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "rounds", Value: 3, Usage: "`N` runs on either side"},
		},
		Action: func(c *cli.Context, e *cmdline.Env) error {
			if n := c.Int("rounds"); n < 1 || n > 1000 {
				return cmdline.Usagef(c.Command.HelpName, "--rounds %d: want 1 to 1000", n)
			}
			r, err := measureGuest(c.Context, e, c.Int("rounds"))
			if err != nil {
				return err
			}
			e.Progress.Clear()
			if e.JSON {
				return e.PrintJSON(r)
			}
			return printGuestBench(e.Stdout, r)
		},
	})
}

func measureGuest(ctx context.Context, e *cmdline.Env, rounds int) (r *bench.GuestReport, err error) {
	root, err := os.MkdirTemp("", "seuss-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(root)) }()
	c, err := bench.BuildGuestBench(ctx, root)
	if err != nil {
		return nil, err
	}
	platform, err := e.OpenPlatform()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, platform.Close()) }()
	r = &bench.GuestReport{Rows: []bench.GuestRow{}}
	programs := append([]bench.GuestProgram{c}, bench.GuestRuntimes...)
	for i, p := range programs {
		e.Progress.Step("measuring "+p.Runtime, float64(i)/float64(len(programs)))
		if reason := lacks(e, p); reason != "" {
			r.LeftOut = append(r.LeftOut, p.Runtime+": "+reason)
			continue
		}
		rows, err := measureProgram(ctx, e, platform, p, rounds)
		if err != nil {
			return nil, err
		}
		r.Rows = append(r.Rows, rows...)
	}
	return r, nil
}

// lacks says why a program cannot be measured.
func lacks(e *cmdline.Env, p bench.GuestProgram) string {
	if _, err := os.Stat(p.Native); err != nil {
		return "this machine has no " + p.Native
	}
	if strings.HasPrefix(p.Image, "dir:") {
		return ""
	}
	if _, err := e.Images().Find(p.Image); err != nil {
		return "there is no image; make it with: seussctl image build --runtime " + p.Runtime
	}
	return ""
}

func measureProgram(ctx context.Context, e *cmdline.Env, platform platform.Platform, p bench.GuestProgram, rounds int) (rows []bench.GuestRow, err error) {
	image, err := openImage(ctx, e, p.Image)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, image.Close()) }()
	return bench.MeasureGuest(ctx, p, rounds, func(args []string) (bench.GuestRun, error) { return runMeasured(ctx, platform, image, args) })
}

// openImage opens an image that there is, or the one that a source leads to.
func openImage(ctx context.Context, e *cmdline.Env, ref string) (*images.Image, error) {
	if source.IsReference(ref) {
		built, err := cmdline.BuildSource(ctx, e, cmdline.FromSource{Reference: ref})
		if err != nil {
			return nil, err
		}
		ref = built.Digest
	}
	file, err := e.Images().Find(ref)
	if err != nil {
		return nil, err
	}
	return images.Open(file)
}

// runMeasured runs a program in a machine of its own and returns its output.
func runMeasured(ctx context.Context, platform platform.Platform, image *images.Image, args []string) (bench.GuestRun, error) {
	var out strings.Builder
	r, err := instance.RunProgram(ctx, platform, instance.Program{
		Image: image, Args: args, Env: []string{"PATH=" + cmdline.ProgramPath, "HOME=/root"}, Timeout: time.Minute,
		Output: func(fd uint16, text []byte) { out.Write(text) },
	})
	if err != nil {
		return bench.GuestRun{}, err
	}
	if r.Status != 0 || r.Signal != 0 {
		return bench.GuestRun{}, fmt.Errorf("%s in a guest: exit %d, signal %d\n%s%s", args[0], r.Status, r.Signal, out.String(), r.Report)
	}
	return bench.GuestRun{Output: out.String(), Machine: r.Machine, Booted: r.Booted}, nil
}

func printGuestBench(w io.Writer, r *bench.GuestReport) error {
	t := cmdline.NewTable("RUNTIME", "WHAT", ">NATIVE", ">GUEST", ">GUEST/NATIVE", ">EXCESS", "WITHIN")
	for _, row := range r.Rows {
		native, ratio, excess, within := "-", "-", "-", "-"
		if row.NativeNS > 0 {
			native, ratio = formatNS(row.NativeNS), cmdline.FormatRatio(row.Ratio())
		}
		if ns, ok := r.Excess(row); ok {
			excess = formatNS(ns)
		}
		if met, ok := r.Within(row); ok {
			within = map[bool]string{true: "yes", false: "no"}[met]
		}
		t.Row(row.Runtime, row.What, native, formatNS(row.GuestNS), ratio, excess, within)
	}
	if err := t.Print(w); err != nil {
		return err
	}
	for _, reason := range r.LeftOut {
		if _, err := fmt.Fprintln(w, "left out,", reason); err != nil {
			return err
		}
	}
	return nil
}

// formatNS prints a time that may be a fraction of a microsecond.
func formatNS(ns float64) string {
	if math.Abs(ns) < 1000 {
		return fmt.Sprintf("%.3g ns", ns)
	}
	return cmdline.FormatDuration(time.Duration(ns))
}
