package cmdline

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"

	"github.com/urfave/cli/v2"

	"seuss/images"
	"seuss/images/derive"
	"seuss/images/runtimes"
)

// maxRequired bounds what one file may have installed, unpacked: what AWS Lambda allows a
// container image.
const maxRequired = 10 << 30

// RequirementFlags are the flags of commands that install packages.
func RequirementFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "requirements", Usage: "`FILE` that says which packages to install: " + OrList(runtimes.RequirementFiles())},
		&cli.StringSliceFlag{Name: "find-links", Usage: "`DIR` of archives to take packages from, in place of an index; may be repeated"},
		&cli.BoolFlag{DisableDefaultText: true, Name: "allow-scripts", Usage: "let packages run their scripts while they are installed, on this machine and as this user"},
	}
}

// Required installs, in this process, what --requirements asks for, for a runtime of an image, and
// makes a layer of each package: of equal files there is one, and a package of the same name
// and version with other files is another.
func Required(c *cli.Context, e *Env, store derive.Store, image string, ask runtimes.Ask) (list []derive.Layer, err error) {
	file := c.String("requirements")
	if file == "" {
		for _, name := range []string{"find-links", "allow-scripts"} {
			if c.IsSet(name) {
				return nil, Usagef(c.Command.HelpName, "--%s is for what --requirements installs", name)
			}
		}
		return nil, nil
	}
	r := runtimes.RequirementsFor(file)
	switch {
	case r == nil:
		return nil, Usagef(c.Command.HelpName, "--requirements %s: want a file called %s", file, OrList(runtimes.RequirementFiles()))
	case c.IsSet("find-links") && !r.Requirements.FindLinks:
		return nil, Usagef(c.Command.HelpName, "--find-links: the installer of %s takes archives that its file names", r.Title)
	case c.IsSet("allow-scripts") && !r.Requirements.Scripts:
		return nil, Usagef(c.Command.HelpName, "--allow-scripts: packages of %s that run any are never taken", r.Title)
	}
	if list, err = install(c, e, store, image, r, ask); err != nil {
		return nil, fmt.Errorf("--requirements %s: %w", file, err)
	}
	return list, nil
}

func install(c *cli.Context, e *Env, store derive.Store, image string, r *runtimes.Runtime, ask runtimes.Ask) (list []derive.Layer, err error) {
	path, err := e.Images().Find(image)
	if err != nil {
		return nil, err
	}
	img, err := images.Open(path, images.SkipDigest())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, img.Close()) }()
	if ask.Runtime == nil {
		ask.Runtime = r
	}
	config := img.Config()
	served := runtimes.Of(&config)
	n, err := ask.In(config.Name, served)
	if err != nil {
		return nil, err
	}
	if served[n].Name != r.Name {
		return nil, fmt.Errorf("it is for %s, the function runs on %s", r.Title, served[n].Name)
	}
	dir, err := os.MkdirTemp("", "seuss-requirements-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	_, missing := img.Lookup("/lib/ld-musl-x86_64.so.1")
	e.Progress.Step("fetching packages of "+r.Title+" "+served[n].Version, -1)
	defer e.Progress.Clear()
	got, err := r.Requirements.Install(c.Context, runtimes.Install{
		File: c.String("requirements"), Dir: dir, FindLinks: c.StringSlice("find-links"), AllowScripts: c.Bool("allow-scripts"),
		Version: served[n].Version, Musl: missing == nil,
	})
	if err != nil {
		return nil, err
	}
	return packageLayers(c.Context, store, got)
}

// packageLayers makes a layer of each package's files.
func packageLayers(ctx context.Context, store derive.Store, got *runtimes.Fetched) (list []derive.Layer, err error) {
	root, err := os.OpenRoot(got.Dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	packages := map[string]bool{}
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			packages[got.Owner(name)] = true
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	left := int64(maxRequired)
	for _, name := range slices.Sorted(maps.Keys(packages)) {
		l, err := store.Add(ctx, name, max(left, 1), func(t *tar.Writer) error {
			return derive.WriteFS(t, root.FS(), got.Below, func(file string) bool { return got.Owner(file) == name })
		})
		if err != nil {
			return nil, err
		}
		left -= l.Bytes
		list = append(list, l)
	}
	return list, nil
}
