package imagecmd

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"seuss/guest"
	"seuss/images"
	"seuss/images/runtimes"
	"seuss/images/source"
	"seuss/images/source/debian"
	"seuss/tools/seussctl/cmdline"
)

// shownImage is all that is known of an image.
type shownImage struct {
	Digest   string           `json:"digest"`
	Tags     []string         `json:"tags"`
	Bytes    int64            `json:"bytes"`     // of its own file and its layers
	OwnBytes int64            `json:"own_bytes"` // of its own file
	Layers   []storedLayer    `json:"layers"`
	Created  time.Time        `json:"created"`
	Config   images.Config    `json:"config"`
	Sources  []images.Origin  `json:"sources"`
	Uses     cmdline.ImageUse `json:"uses"`
	// Rebuild is what a rebuild would change, where that was asked for.
	Rebuild []string `json:"rebuild,omitempty"`
}

// findImage finds an image by name or digest, and reads it.
func findImage(ctx context.Context, e *cmdline.Env, ref string) (*shownImage, error) {
	path, err := e.Images().Find(ref)
	if err != nil {
		return nil, err
	}
	img, err := images.Open(path, images.SkipDigest())
	if err != nil {
		return nil, err
	}
	st, err := img.File().Stat()
	if err != nil {
		img.Close()
		return nil, err
	}
	refs := img.Layers()
	shown := &shownImage{Digest: strings.TrimSuffix(filepath.Base(path), guest.ImageSuffix), Tags: []string{}, Bytes: st.Size(), OwnBytes: st.Size(), Created: st.ModTime(), Config: img.Config(), Sources: []images.Origin{}}
	if err := img.Close(); err != nil {
		return nil, err
	}
	if shown.Layers, err = storedLayers(e.Images(), shown.Digest, refs); err != nil {
		return nil, err
	}
	for _, l := range shown.Layers {
		shown.Bytes += int64(l.Bytes)
	}
	if tags := cmdline.ImageTags(ctx, e)[shown.Digest]; tags != "" {
		shown.Tags = strings.Split(tags, ",")
	}
	origins, err := e.Images().Origins()
	if err != nil {
		return nil, err
	}
	shown.Sources = append(shown.Sources, origins[shown.Digest]...)
	uses, err := cmdline.ImageUses(ctx, e)
	if err != nil {
		return nil, err
	}
	if shown.Uses = uses[shown.Digest]; shown.Uses.Functions == nil {
		shown.Uses.Functions = []string{}
	}
	return shown, nil
}

func imageShow(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:      "show",
		ArgsUsage: "IMAGE",
		Usage:     "show an image, what it came from and who uses it",
		Description: `
With --rebuild it also says what a rebuild would change: packages of this machine that
have other versions by now, and a source, which is asked, that leads to something else.`,
		Examples: []string{"seussctl image show python", "seussctl image show tools --rebuild", "seussctl image show 3f9a0c11 --json"},
		Flags: append([]cli.Flag{
			&cli.BoolFlag{DisableDefaultText: true, Name: "rebuild", Usage: "say what a rebuild would change"},
		}, cmdline.SourceFlags()...),
		MinArgs: 1, MaxArgs: 1,
		Complete: cmdline.ImageNames,
		Action: func(c *cli.Context, e *cmdline.Env) error {
			i, err := findImage(c.Context, e, c.Args().First())
			if err != nil {
				return err
			}
			if c.Bool("rebuild") {
				if i.Rebuild, err = wouldChange(c, i); err != nil {
					return err
				}
			}
			if e.JSON {
				return e.PrintJSON(i)
			}
			return printImage(e, i, c.Bool("rebuild"))
		},
	})
}

// wouldChange says what a rebuild would change.
func wouldChange(c *cli.Context, i *shownImage) ([]string, error) {
	changes := []string{}
	if i.Config.Labels["seuss.guest"] != "" {
		if r, err := runtimes.ByName(i.Config.Name); err == nil && !r.Current(i.Config) {
			changes = append(changes, "the kernel library and driver of this program")
		}
	}
	moved, err := debian.Moved(c.Context, "", i.Config.Packages)
	if err != nil {
		return nil, err
	}
	changes = append(changes, moved...)
	for _, o := range i.Sources {
		b, err := cmdline.ReadSource(c, o.Reference)
		if err != nil {
			return nil, err
		}
		found, err := source.Find(c.Context, o.Reference, b.Options)
		switch {
		case err != nil:
			changes = append(changes, err.Error())
		case found.Digest != o.Digest:
			changes = append(changes, fmt.Sprintf("%s: %s -> %s", o.Reference, o.Digest, found.Digest))
		}
	}
	return changes, nil
}

func printImage(e *cmdline.Env, i *shownImage, rebuild bool) error {
	t := cmdline.NewTable("", "")
	add := func(name, format string, args ...any) { t.Row(name, fmt.Sprintf(format, args...)) }
	add("digest", "%s", i.Digest)
	add("names", "%s", strings.Join(i.Tags, ", "))
	add("size", "%s, of which %s are its own", cmdline.FormatBytes(uint64(i.Bytes)), cmdline.FormatBytes(uint64(i.OwnBytes)))
	add("created", "%s", cmdline.FormatTime(i.Created))
	add("memory", "%s", cmdline.FormatBytes(i.Config.MemoryBytes))
	for _, o := range i.Sources {
		add("source", "%s, %s", o.Reference, o.Digest)
	}
	for n := range i.Config.Runtimes {
		r := &i.Config.Runtimes[n]
		add("runtime", "%s, %s", r.String(), r.Program)
	}
	if ct := i.Config.Container; ct != nil {
		for name, list := range map[string][]string{"entrypoint": ct.Entrypoint, "command": ct.Cmd} {
			if len(list) > 0 {
				add(name, "%q", list)
			}
		}
		for _, row := range [][2]string{{"directory", ct.WorkingDir}, {"ports", strings.Join(ct.ExposedPorts, ", ")}, {"stop signal", ct.StopSignal}} {
			if row[1] != "" {
				add(row[0], "%s", row[1])
			}
		}
		for _, l := range ct.Layers {
			add("layer", "%s  %s  %s", cmdline.Short(strings.TrimPrefix(l.DiffID, "sha256:")), cmdline.FormatBytes(uint64(l.Bytes)), l.CreatedBy)
		}
	}
	if u := cmp.Or(i.Config.User, i.Config.Container.Account()); u != "" {
		add("user", "%s", u)
	}
	for _, l := range i.Layers {
		add("stored in", "%v", l)
	}
	for _, v := range i.Config.Env {
		add("environment", "%s", v)
	}
	if n := len(i.Config.Packages); n > 0 {
		add("packages", "%d", n)
	}
	add("functions", "%s", strings.Join(i.Uses.Functions, ", "))
	add("snapshots", "%d", i.Uses.Snapshots)
	if rebuild && len(i.Rebuild) == 0 {
		add("rebuild", "would change nothing")
	}
	for _, what := range i.Rebuild {
		add("rebuild", "%s", what)
	}
	return t.Print(e.Stdout)
}

func imageHistory(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:      "history",
		ArgsUsage: "IMAGE",
		Usage:     "show the layers that an image was made of, the lowest first",
		Examples:  []string{"seussctl image history tools"},
		MinArgs:   1, MaxArgs: 1,
		Complete: cmdline.ImageNames,
		Action: func(c *cli.Context, e *cmdline.Env) error {
			i, err := findImage(c.Context, e, c.Args().First())
			if err != nil {
				return err
			}
			layers := []images.Layer{}
			if i.Config.Container != nil {
				layers = append(layers, i.Config.Container.Layers...)
			}
			if e.JSON {
				return e.PrintJSON(layers)
			}
			t := cmdline.NewTable("LAYER", ">SIZE", "CREATED BY")
			for _, l := range layers {
				t.Row(cmdline.Short(strings.TrimPrefix(l.DiffID, "sha256:")), cmdline.FormatBytes(uint64(l.Bytes)), l.CreatedBy)
			}
			return t.Print(e.Stdout)
		},
	})
}
