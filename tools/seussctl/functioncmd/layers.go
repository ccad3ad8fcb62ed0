package functioncmd

import (
	"archive/tar"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
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
	return append([]cli.Flag{
		&cli.StringSliceFlag{Name: "layer", Usage: "directory or .zip at `PATH` to have below /opt, as AWS Lambda's layers; may be repeated, later ones lie above"},
	}, cmdline.RequirementFlags()...)
}

// required is what a file of requirements led to: with --watch it is installed again when
// the file changes, not at every deployment.
type required struct {
	of    [sha256.Size]byte
	image string
	list  []derive.Layer
}

func (r *required) layers(c *cli.Context, e *cmdline.Env, store derive.Store, image string, spec *dispatcher.FunctionSpec) ([]derive.Layer, error) {
	if spec.Settings.Program != nil { // which has no packages installed: readCode
		return nil, nil
	}
	text, err := os.ReadFile(c.String("requirements"))
	if err != nil && c.IsSet("requirements") {
		return nil, fmt.Errorf("--requirements: %w", err)
	}
	sum := sha256.Sum256(text)
	if r.image == image && r.of == sum {
		return r.list, nil
	}
	ask, err := runtimes.ParseAsk(spec.Settings.Runtime)
	if err != nil {
		return nil, err
	}
	list, err := cmdline.Required(c, e, store, image, ask)
	if err == nil {
		*r = required{sum, image, list}
	}
	return list, err
}

// addLayers has a function run in an image that has its packages and layers above its own.
func (r *required) addLayers(c *cli.Context, e *cmdline.Env, spec *dispatcher.FunctionSpec) error {
	paths := c.StringSlice("layer")
	if len(paths) > bundle.MaxLayers {
		return cmdline.Usagef(c.Command.HelpName, "--layer: %d layers, at most %d are allowed", len(paths), bundle.MaxLayers)
	}
	image, err := cmdline.ImageOf(e, spec)
	if err != nil {
		return err
	}
	store := derive.Store{Images: e.Images()}
	defer e.Progress.Clear()
	list, err := r.layers(c, e, store, image, spec)
	if err != nil {
		return err
	}
	left := bundle.MaxUnpacked - codeBytes(spec)
	for _, p := range paths {
		e.Progress.Step("reading layer "+filepath.Base(p), -1)
		l, err := readLayer(c, store, p, left)
		if err != nil {
			return err
		}
		left -= l.Bytes
		list = append(list, l)
	}
	if codeBytes(spec) > mostSent && spec.Settings.Program == nil {
		l, err := codeLayer(c, store, spec)
		if err != nil {
			return err
		}
		list = append(list, l)
	}
	if len(list) > 0 {
		spec.Image, err = cmdline.Derive(c, e, store, image, list)
	}
	return err
}

// needsImage reports whether a function brings more than what its image has.
func needsImage(c *cli.Context, spec *dispatcher.FunctionSpec) bool {
	for _, name := range []string{"layer", "requirements", "find-links", "allow-scripts"} {
		if c.IsSet(name) {
			return true
		}
	}
	return codeBytes(spec) > mostSent && spec.Settings.Program == nil // whose command is looked for in its code
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
