package snapshotcmd

import (
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"seuss/images"
	"seuss/lineage"
	"seuss/tools/seussctl/cmdline"
	"seuss/dispatcher/regions"
)

func snapshotDiff(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:      "diff",
		ArgsUsage: "[A] B",
		Usage:     "say where the memory of two snapshots differs",
		Description: `
Without A, compares B with its parent: why is this delta so large? Prints the
differing pages and bytes by region of the guest (kernel library, program and
library data, heap, stack, mapped memory, files), and those that lie in ELF
files by symbol. Of stripped files only exported symbols are known.`,
		Examples: []string{"seussctl snapshot diff 4f1c0a", "seussctl snapshot diff json-fn@v1 json-fn@v2 --symbols 50"},
		Flags:    []cli.Flag{&cli.IntFlag{Name: "symbols", Value: 20, Usage: "print at most `N` symbols"}},
		MinArgs:  1, MaxArgs: 2,
		Complete: nodeIDs,
		Action: func(c *cli.Context, e *cmdline.Env) error {
			if c.Int("symbols") < 0 {
				return cmdline.Usagef(c.Command.HelpName, "--symbols %d is negative", c.Int("symbols"))
			}
			return withReading(e, func(s *lineage.Store) error { return diffNodes(e, s, c.Args().Slice(), c.Int("symbols")) })
		},
	})
}

// withReading runs f with the catalogue open for reading.
func withReading(e *cmdline.Env, f func(*lineage.Store) error) (err error) {
	s, err := e.ReadStore()
	if err != nil {
		return err
	}
	if s == nil {
		return fmt.Errorf("nothing is stored in %s yet: %w", e.StateDir, lineage.ErrNotFound)
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return f(s)
}

func diffNodes(e *cmdline.Env, s *lineage.Store, names []string, symbols int) error {
	b, err := s.Get(names[len(names)-1])
	if err != nil {
		return err
	}
	other := b.Parent
	if len(names) == 2 {
		a, err := s.Get(names[0])
		if err != nil {
			return err
		}
		other = a.ID
	}
	if other == "" {
		return fmt.Errorf("node %.12s is an image: it has no parent to compare with", b.ID)
	}
	snapshot, err := s.Snapshot(b.ID)
	if err != nil {
		return err
	}
	// The layout is that of B's guest; the image was verified with the node.
	image, err := images.Open(s.ImagePath(b.ImageDigest), images.SkipDigest())
	if err != nil {
		return err
	}
	defer image.Close()
	layout, err := regions.New(image, snapshot.View)
	if err != nil {
		return err
	}
	sum, err := layout.Summarise(s.Inspect().Compare(other, b.ID))
	if err != nil {
		return err
	}
	if e.JSON {
		return e.PrintJSON(struct {
			A       string          `json:"a"`
			B       string          `json:"b"`
			Pages   uint64          `json:"pages"`
			Bytes   uint64          `json:"bytes"`
			Regions []*regions.Line `json:"regions"`
			Symbols []*regions.Line `json:"symbols"`
		}{other, b.ID, sum.Pages, sum.Bytes, sum.Regions, sum.Symbols[:min(len(sum.Symbols), symbols)]})
	}
	t := cmdline.NewTable("REGION", ">PAGES", ">BYTES")
	for _, l := range sum.Regions {
		t.Row(l.Region, cmdline.FormatPages(l.Pages), cmdline.FormatPages(l.Bytes))
	}
	t.Row("all", cmdline.FormatPages(sum.Pages), cmdline.FormatPages(sum.Bytes))
	if err := t.Print(e.Stdout); err != nil || symbols == 0 || len(sum.Symbols) == 0 {
		return err
	}
	fmt.Fprintln(e.Stdout)
	t = cmdline.NewTable("OBJECT", "SYMBOL", ">PAGES", ">BYTES")
	for _, l := range sum.Symbols[:min(len(sum.Symbols), symbols)] {
		t.Row(l.Object, dash(l.Symbol), cmdline.FormatPages(l.Pages), cmdline.FormatPages(l.Bytes))
	}
	if err := t.Print(e.Stdout); err != nil {
		return err
	}
	if more := len(sum.Symbols) - symbols; more > 0 {
		fmt.Fprintf(e.Stdout, "and %d more; see --symbols\n", more)
	}
	return nil
}
