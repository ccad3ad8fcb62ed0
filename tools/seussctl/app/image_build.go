package app

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"seuss/images/runtimes"
	"seuss/lineage"
	"seuss/tools/seussctl/cmdline"
)

func imageBuild(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:  "build",
		Usage: "build an image from this machine's own Python, Node.js, Ruby or Lua",
		Description: `
Collects the runtime (for Python: /usr/bin/python3, its standard library, and
NumPy if it is installed) with the shared objects that it needs, adds the guest kernel library and the runtime
driver, and stores the image under its name. An older image of that name stays
until it is removed; snapshots belong to the image that they were taken from.
At the end a guest imports what the image was asked to hold; if it cannot, there
is no new image, and the error names what is lacking.

With --warm-up-code the image carries a function that is loaded and invoked on
the --warm-up events when the image boots, before its base snapshot is taken:
what it imports, compiles and builds at first use is then in the base, for every
function of the image. The function itself is dropped. If it fails, so does the
boot, and says why.`,
		Examples: []string{
			"seussctl image build",
			"seussctl image build --runtime node",
			"seussctl image build --runtime node --name node22 --program /opt/node-22/bin/node",
			"seussctl image build --name python-small --memory 128MiB --no-numpy",
			"seussctl image build --name reports --warm-up-code typical.py --warm-up '{\"rows\": 1}' --warm-up-runs 20",
		},
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "runtime", Value: cmdline.DefaultImage, Usage: "`RUNTIME` to put into it: " + cmdline.OrList(runtimes.Names())},
			&cli.StringFlag{Name: "name", Usage: "`NAME` of the image (default: the runtime's)"},
			&cli.StringFlag{Name: "program", Usage: "`PATH` of the Node.js or Lua to take (default: node, lua5.4 in /usr/bin, else in /usr/local/bin)"},
			&cli.StringFlag{Name: "memory", Usage: "guest memory, a `SIZE` such as 256MiB (default: 256MiB; node: 2GiB)"},
			&cli.StringSliceFlag{Name: "env", Usage: "environment `KEY=VALUE` of the runtime, may be repeated"},
		}, partFlags(), []cli.Flag{
			&cli.StringFlag{Name: "warm-up-code", Usage: "`PATH` of a function (file, directory or zip) to run before the base snapshot is taken"},
			&cli.StringFlag{Name: "warm-up-handler", Usage: "its `MODULE.FUNCTION` (default: the only module's \"handler\")"},
		}, cmdline.WarmUpFlags()),
		Action: func(c *cli.Context, e *cmdline.Env) error {
			r, err := runtimes.ByName(c.String("runtime"))
			if err != nil {
				return cmdline.Usagef(c.Command.HelpName, "--runtime: %w", err)
			}
			o := runtimes.Options{Name: c.String("name"), Program: c.String("program"), Env: c.StringSlice("env"), Without: withoutParts(c, r)}
			if c.IsSet("memory") {
				if o.MemoryBytes, err = parseMemory(c.String("memory")); err != nil {
					return cmdline.Usagef(c.Command.HelpName, "--memory: %w", err)
				}
			}
			for _, v := range c.StringSlice("env") {
				if name, _, ok := strings.Cut(v, "="); !ok || name == "" {
					return cmdline.Usagef(c.Command.HelpName, "--env %q: want KEY=VALUE", v)
				}
			}
			if o.Program != "" && (!r.AnyProgram || !filepath.IsAbs(o.Program)) {
				return cmdline.Usagef(c.Command.HelpName, "--program %q: want the absolute path of the interpreter, of a runtime that takes any", o.Program)
			}
			if o.Driver, err = e.ReadBaseWarmUp(c, r); err != nil {
				return err
			}
			info, err := e.BuildRuntime(c.Context, r, o)
			if err == nil {
				err = e.RefreshDaemon(c.Context)
			}
			if err != nil {
				return err
			}
			if e.JSON {
				return e.PrintJSON(struct {
					Name        string   `json:"name"`
					Digest      string   `json:"digest"`
					Bytes       int64    `json:"bytes"`
					Files       int      `json:"files"`
					NotLoadable []string `json:"not_loadable,omitempty"`
				}{info.Name, info.Digest.String(), info.Bytes, info.Files, info.NotLoadable})
			}
			for _, p := range info.NotLoadable {
				e.Notef("%s is a damaged ELF file; it is in the image as plain data", p)
			}
			_, err = fmt.Fprintf(e.Stdout, "%s  %s  %s in %s files\n", info.Name, cmdline.Short(info.Digest.String()), cmdline.FormatBytes(uint64(info.Bytes)), humanize.Comma(int64(info.Files)))
			return err
		},
	})
}

// partFlags are a flag for each part of an image that can be left out.
func partFlags() (flags []cli.Flag) {
	for _, r := range runtimes.All() {
		for _, p := range r.Optional {
			flags = append(flags, &cli.BoolFlag{DisableDefaultText: true, Name: "no-" + p.Name, Usage: p.Usage})
		}
	}
	return flags
}

func withoutParts(c *cli.Context, r *runtimes.Runtime) (parts []string) {
	for _, p := range r.Optional {
		if c.Bool("no-" + p.Name) {
			parts = append(parts, p.Name)
		}
	}
	return parts
}

// parseMemory reads a size that guests can have as RAM: whole pages.
func parseMemory(text string) (uint64, error) {
	n, err := humanize.ParseBytes(text)
	if err != nil {
		return 0, fmt.Errorf("%q is not a size such as 256MiB", text)
	}
	if n == 0 || n%lineage.PageSize != 0 {
		return 0, fmt.Errorf("%q is %d bytes, want a multiple of %d", text, n, lineage.PageSize)
	}
	return n, nil
}
