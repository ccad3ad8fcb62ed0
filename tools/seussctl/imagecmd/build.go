package imagecmd

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"seuss/images"
	"seuss/images/derive"
	"seuss/images/runtimes"
	"seuss/tools/seussctl/cmdline"
)

func imageBuild(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:      "build",
		ArgsUsage: "[NAME]",
		Usage:     "build an image from a container image, a directory or this machine's packages",
		Description: `
With --from: makes an image of a root file system, and gives it the NAME:

  docker://HOST/REPO[:TAG][@DIGEST]  an image of a registry
  oci:DIR[:TAG]                      of an OCI image layout
  oci-archive:FILE[:TAG]             of an archive of one
  docker-archive:FILE[:TAG]          of an archive of docker save
  dir:PATH                           a directory
  debian:[PACKAGE,...]               packages of this machine and what they depend on

Entrypoint, command, environment, working directory, user and labels of a container
image are kept and honoured. Registries are asked with the credentials of docker login, over TLS
but on loopback. A layer that is there is not fetched again, and what was built from
the same before is not built again.

Without: collects the runtime (for Python: /usr/bin/python3, its standard library, and
NumPy if it is installed) with the shared objects that it needs, adds the guest kernel library and the runtime
driver, and stores the image under its name. An older image of that name stays
until it is removed; snapshots belong to the image that they were taken from.
At the end a guest imports what the image was asked to hold; if it cannot, there
is no new image, and the error names what is lacking.

With --requirements the image also holds the packages that a requirements.txt or a
package.json asks for; see function deploy.

With --warm-up-code the image carries a function that is loaded and invoked on
the --warm-up events when the image boots, before its base snapshot is taken:
what it imports, compiles and builds at first use is then in the base, for every
function of the image. The function itself is dropped. If it fails, so does the
boot, and says why.`,
		Examples: []string{
			"seussctl image build",
			"seussctl image build --runtime node",
			"seussctl image build tools --from docker://registry.example.com/team/tools:3",
			"seussctl image build science --package python3-pandas,python3-scipy",
			"seussctl image build charts --requirements requirements.txt",
			"seussctl image build shell --from debian:dash,coreutils",
			"seussctl image build --runtime node --name node22 --program /opt/node-22/bin/node",
			"seussctl image build --name python-small --memory 128MiB --no-numpy",
			"seussctl image build --name reports --warm-up-code typical.py --warm-up '{\"rows\": 1}' --warm-up-runs 20",
		},
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "runtime", Value: cmdline.DefaultImage, Usage: "`RUNTIME` to put into it: " + cmdline.OrList(runtimes.Names())},
			&cli.StringFlag{Name: "from", Usage: "`SOURCE` to take the root file system from"},
			&cli.StringFlag{Name: "package", Usage: "comma-separated `PACKAGES` of this machine to add, with what they depend on"},
			&cli.StringFlag{Name: "name", Usage: "`NAME` of the image (default: the runtime's)"},
			&cli.StringFlag{Name: "program", Usage: "`PATH` of the Node.js or Lua to take (default: node, lua5.4 in /usr/bin, else in /usr/local/bin)"},
			&cli.StringFlag{Name: "memory", Usage: "guest memory, a `SIZE` such as 256MiB (default: 256MiB; node: 2GiB)"},
			&cli.StringFlag{Name: "user", Usage: "`USER[:GROUP]` that functions and programs run as, names of the image or numbers (default: the source's, else root)"},
			&cli.StringSliceFlag{Name: "env", Usage: "environment `KEY=VALUE` of the runtime, may be repeated"},
		}, partFlags(), cmdline.SourceFlags(), cmdline.RequirementFlags(), []cli.Flag{
			&cli.StringFlag{Name: "warm-up-code", Usage: "`PATH` of a function (file, directory or zip) to run before the base snapshot is taken"},
			&cli.StringFlag{Name: "warm-up-handler", Usage: "its `MODULE.FUNCTION` (default: the only module's \"handler\")"},
		}, cmdline.WarmUpFlags()),
		MaxArgs: 1,
		Action: func(c *cli.Context, e *cmdline.Env) error {
			asked, err := readImageBuild(c)
			if err != nil {
				return err
			}
			if c.IsSet("from") {
				return buildFrom(e, c, asked)
			}
			r, err := runtimes.ByName(c.String("runtime"))
			if err != nil {
				return cmdline.Usagef(c.Command.HelpName, "--runtime: %w", err)
			}
			o := runtimes.Options{Name: asked.Name, Program: c.String("program"), Env: asked.Env, User: asked.User, Without: withoutParts(c, r), MemoryBytes: asked.MemoryBytes, Packages: asked.Options.Packages}
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
			return install(e, c, builtImage{Name: info.Name, Digest: info.Digest.String(), Bytes: info.Bytes, Files: info.Files, NotLoadable: info.NotLoadable})
		},
	})
}

// builtImage is what image build says of what there is then.
type builtImage struct {
	Name        string   `json:"name,omitempty"`
	Digest      string   `json:"digest"`
	Bytes       int64    `json:"bytes"`
	Files       int      `json:"files,omitempty"`
	NotLoadable []string `json:"not_loadable,omitempty"`
	Found       bool     `json:"found,omitempty"` // it was built from the same before
}

// install adds to an image what --requirements asks for, and prints what there is then.
func install(e *cmdline.Env, c *cli.Context, b builtImage) error {
	store := derive.Store{Images: e.Images()}
	list, err := cmdline.Required(c, e, store, b.Digest, runtimes.Ask{})
	if err != nil {
		return err
	}
	if len(list) > 0 {
		if b.Digest, err = cmdline.Derive(c, e, store, b.Digest, list); err != nil {
			return err
		}
		if b.Name != "" {
			if err := e.Images().Tag(b.Digest, b.Name); err != nil {
				return err
			}
		}
		path, err := e.Images().Find(b.Digest)
		if err != nil {
			return err
		}
		st, err := os.Stat(path)
		if err != nil {
			return err
		}
		b.Bytes = st.Size()
	}
	return printBuiltImage(e, b)
}

func printBuiltImage(e *cmdline.Env, b builtImage) error {
	if e.JSON {
		return e.PrintJSON(b)
	}
	for _, p := range b.NotLoadable {
		e.Notef("%s is a damaged ELF file; it is in the image as plain data", p)
	}
	tail := fmt.Sprintf(" in %s files", humanize.Comma(int64(b.Files)))
	if b.Found {
		tail = ", built from the same before"
	}
	_, err := fmt.Fprintf(e.Stdout, "%s  %s  %s%s\n", b.Name, cmdline.Short(b.Digest), cmdline.FormatBytes(uint64(b.Bytes)), tail)
	return err
}

// readImageBuild reads what builds from sources and of runtimes have in common.
func readImageBuild(c *cli.Context) (cmdline.FromSource, error) {
	name := c.Command.HelpName
	b, err := cmdline.ReadSource(c, c.String("from"))
	if err != nil {
		return b, err
	}
	if b.Name = c.String("name"); c.Args().Present() {
		if b.Name != "" {
			return b, cmdline.Usagef(name, "%s: the image is named twice, %s and %s", name, c.Args().First(), b.Name)
		}
		b.Name = c.Args().First()
	}
	if b.Name != "" {
		if err := images.CheckName(b.Name); err != nil {
			return b, cmdline.Usagef(name, "%w", err)
		}
	}
	b.Env, b.User = c.StringSlice("env"), c.String("user")
	for _, v := range b.Env {
		if key, _, ok := strings.Cut(v, "="); !ok || key == "" {
			return b, cmdline.Usagef(name, "--env %q: want KEY=VALUE", v)
		}
	}
	if c.IsSet("memory") {
		if b.MemoryBytes, err = cmdline.ParseMemory(c.String("memory")); err != nil {
			return b, cmdline.Usagef(name, "--memory: %w", err)
		}
	}
	if c.IsSet("package") {
		if b.Options.Packages, err = cmdline.SplitList(c.String("package")); err != nil {
			return b, cmdline.Usagef(name, "--package %q: %w", c.String("package"), err)
		}
	}
	return b, nil
}

// buildFrom builds an image from a source.
func buildFrom(e *cmdline.Env, c *cli.Context, b cmdline.FromSource) error {
	for _, f := range slices.Concat([]string{"runtime", "program", "warm-up-code", "warm-up-handler", "warm-up", "warm-up-runs"}, partNames()) {
		if c.IsSet(f) {
			return cmdline.Usagef(c.Command.HelpName, "--%s is for an image of a runtime, not for one --from a source", f)
		}
	}
	if len(b.Options.Packages) > 0 && !strings.HasPrefix(b.Reference, "debian:") {
		return cmdline.Usagef(c.Command.HelpName, "--package adds packages of this machine, to debian: or to a runtime's image")
	}
	built, err := cmdline.BuildSource(c.Context, e, b)
	if err == nil {
		err = e.RefreshDaemon(c.Context)
	}
	if err != nil {
		return err
	}
	st, err := os.Stat(built.Path)
	if err != nil {
		return err
	}
	out := builtImage{Name: b.Name, Digest: built.Digest, Bytes: st.Size(), Found: built.Found}
	if built.Info != nil {
		out.Files, out.NotLoadable = built.Info.Files, built.Info.NotLoadable
	}
	return install(e, c, out)
}

func partNames() (names []string) {
	for _, r := range runtimes.All() {
		for _, p := range r.Optional {
			names = append(names, "no-"+p.Name)
		}
	}
	return names
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
