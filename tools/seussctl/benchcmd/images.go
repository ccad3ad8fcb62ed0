package benchcmd

import (
	"fmt"
	"io"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"seuss/tools/seussctl/bench"
	"seuss/tools/seussctl/cmdline"
)

const (
	imageRounds    = 3
	imageFunctions = 100
	imageLargeGiB  = 4
)

// BenchImages is seussctl bench images.
func BenchImages(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:  "images",
		Usage: "measure images of layers: building, keeping and starting in them",
		Description: `
Of an OCI image layout, or of one made of this machine's Python, measures: image build
against umoci unpack and skopeo copy of the same image, in turns, and a second build;
what a second image with a base in common takes of disk and memory; starts of a function
from files that are not in memory, in the image and in one with --large-gib of data more;
what each of --functions functions with the same packages takes; and pooled starts in an
image of layers and in one of a single file. umoci and skopeo are Debian's packages; what
is missing is named. Uses a directory of its own below the default state directory, or
below the one given with --state, and removes it.`,
		Examples: []string{"seussctl bench images", "seussctl bench images --layout ./debian:12 --functions 1000 --json"},
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "layout", Usage: "OCI image layout `DIR[:TAG]` with Python in it"},
			&cli.IntFlag{Name: "rounds", Value: imageRounds, Usage: "`N` turns"},
			&cli.IntFlag{Name: "functions", Value: imageFunctions, Usage: "`N` functions with the same packages"},
			&cli.IntFlag{Name: "large-gib", Value: imageLargeGiB, Usage: "`GIB` of data in the large root"},
		},
		Action: func(c *cli.Context, e *cmdline.Env) error {
			for flag, most := range map[string]int{"rounds": 1000, "functions": 100_000, "large-gib": 60} {
				if n := c.Int(flag); n < 1 || n > most {
					return cmdline.Usagef(c.Command.HelpName, "--%s %d: want 1 to %d", flag, n, most)
				}
			}
			report, err := measureImages(c.Context, e, imageWork{layout: c.String("layout"), rounds: c.Int("rounds"), functions: c.Int("functions"), large: uint64(c.Int("large-gib")) << 30})
			if err != nil {
				return err
			}
			e.Progress.Clear()
			if e.JSON {
				return e.PrintJSON(report)
			}
			return printImages(e.Stdout, report)
		},
	})
}

func printImages(w io.Writer, r *bench.ImagesReport) error {
	t := cmdline.NewTable("WORK ON THE IMAGE", ">MS", ">ON DISK")
	t.Row("files of its layers", "", cmdline.FormatBytes(r.Files))
	for _, row := range r.Builds {
		t.Row(row.What, fmt.Sprintf("%.0f", row.Took), cmdline.FormatBytes(row.Bytes))
	}
	if err := t.Print(w); err != nil {
		return err
	}
	for _, s := range r.Skipped {
		fmt.Fprintf(w, "left out: %s (apt-get install %s)\n", s.Program, s.Lacks)
	}
	fmt.Fprintln(w)
	t = cmdline.NewTable("IMAGE, WITH A FUNCTION", ">ON DISK", ">MEMORY", ">PAGE CACHE")
	for _, row := range r.Shared {
		t.Row(row.Image, cmdline.FormatBytes(row.Disk), cmdline.FormatBytes(row.Memory), cmdline.FormatBytes(row.Cache))
	}
	if err := t.Print(w); err != nil {
		return err
	}
	fmt.Fprintln(w)
	t = cmdline.NewTable("COLD START", ">N", ">P50", ">P99", ">READ")
	for _, row := range r.Cold {
		t.Row(row.Way, fmt.Sprint(row.N), FormatMicros(row.P50), FormatMicros(row.P99), cmdline.FormatBytes(row.Read))
	}
	if err := t.Print(w); err != nil {
		return err
	}
	fmt.Fprintln(w)
	t = cmdline.NewTable("FUNCTIONS WITH THE SAME PACKAGES", ">N", ">DISK, EACH", ">MEMORY, EACH", ">DEPLOYMENT")
	for _, row := range r.Each {
		t.Row(row.Way, humanize.Comma(int64(row.Functions)), cmdline.FormatBytes(uint64(row.Disk)), cmdline.FormatBytes(uint64(max(0, row.Memory))), fmt.Sprintf("%.0f ms", row.Deploy))
	}
	if err := t.Print(w); err != nil {
		return err
	}
	fmt.Fprintln(w)
	t = cmdline.NewTable("POOLED START", ">N", ">P50", ">P99")
	for _, row := range r.Pooled {
		t.Row(row.Path, fmt.Sprint(row.N), FormatMicros(row.P50), FormatMicros(row.P99))
	}
	if err := t.Print(w); err != nil {
		return err
	}
	fmt.Fprintln(w)
	return printBars(w, r.Bars())
}
