package functioncmd

import (
	"archive/tar"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher"
	"seuss/dispatcher/bundle"
	"seuss/images/derive"
	"seuss/images/runtimes"
	"seuss/tools/seussctl/cmdline"
)

// Where layers and code lie in a guest.
const (
	layersBelow = "opt"
	codeBelow   = "var/task"
)

// mostSent is how much code goes to the service, in whose store and in whose snapshots it
// lies then. What is more lies in a layer, where it is once for all that have it.
const mostSent = 32 << 20

func layerFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "layer", Usage: "directory or .zip at `PATH` to have below /opt, as AWS Lambda's layers; may be repeated, later ones lie above"},
	}
}

// addLayers has a function run in an image that has its layers above its own.
func addLayers(c *cli.Context, e *cmdline.Env, spec *dispatcher.FunctionSpec) error {
	paths := c.StringSlice("layer")
	large := codeBytes(spec) > mostSent
	if len(paths) == 0 && !large {
		return nil
	}
	if len(paths) > bundle.MaxLayers {
		return cmdline.Usagef(c.Command.HelpName, "--layer: %d layers, at most %d are allowed", len(paths), bundle.MaxLayers)
	}
	store := derive.Store{Images: e.Images()}
	defer e.Progress.Clear()
	left := bundle.MaxUnpacked - codeBytes(spec)
	var list []derive.Layer
	for _, p := range paths {
		e.Progress.Step("reading layer "+filepath.Base(p), -1)
		l, err := readLayer(c, store, p, left)
		if err != nil {
			return err
		}
		left -= l.Bytes
		list = append(list, l)
	}
	if large {
		l, err := codeLayer(c, store, spec)
		if err != nil {
			return err
		}
		list = append(list, l)
	}
	return cmdline.Derive(c, e, store, spec, list)
}

func codeBytes(spec *dispatcher.FunctionSpec) (n int64) {
	for _, content := range spec.Files {
		n += int64(len(content))
	}
	return n
}

// readLayer makes a layer of what --layer names.
func readLayer(c *cli.Context, store derive.Store, file string, left int64) (l derive.Layer, err error) {
	from, done, err := derive.Open(file, bundle.MaxZipBytes)
	if err != nil {
		return l, fmt.Errorf("--layer: %w", err)
	}
	defer func() { err = errors.Join(err, done()) }()
	size, err := derive.Size(from, nil)
	if err == nil && size > left {
		err = fmt.Errorf("its %d bytes are more than the %d that are left: the code and all layers take at most %d bytes (%d MiB) unpacked", size, left, bundle.MaxUnpacked, bundle.MaxUnpacked>>20)
	}
	if err == nil {
		l, err = store.Add(c.Context, filepath.Base(file), max(left, 1), func(t *tar.Writer) error { return derive.WriteFS(t, from, layersBelow, nil) })
	}
	if err != nil {
		return l, fmt.Errorf("--layer %s: %w", file, err)
	}
	return l, nil
}

// codeLayer makes a layer of all code but the modules at its top, which are what changes.
func codeLayer(c *cli.Context, store derive.Store, spec *dispatcher.FunctionSpec) (derive.Layer, error) {
	rest, sent := map[string][]byte{}, map[string][]byte{}
	for name, content := range spec.Files {
		if !strings.Contains(name, "/") && runtimes.ByFileEnding(name) != nil || path.Base(name) == "package.json" {
			sent[name] = content
		} else {
			rest[name] = content
		}
	}
	l, err := store.Add(c.Context, "code", bundle.MaxUnpacked, func(t *tar.Writer) error { return derive.WriteFiles(t, rest, codeBelow) })
	spec.Files = sent
	return l, err
}
