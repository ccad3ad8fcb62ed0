package snapshotcmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher"
	"seuss/dispatcher/api"
	"seuss/lineage"
	"seuss/lineage/oci"
	"seuss/tools/seussctl/cmdline"
)

// Places are written as skopeo writes them.
const (
	placeLayout   = "oci:"
	placeArchive  = "oci-archive:"
	placeRegistry = "docker://"
	placesText    = "oci:DIR[@NAME], oci-archive:FILE[@NAME] or docker://HOST/REPOSITORY:TAG"
)

func snapshotExport(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:      "export",
		ArgsUsage: "ID PLACE",
		Usage:     "write a snapshot and its ancestors as an OCI image",
		Description: `
PLACE is ` + placesText + `:
an OCI image layout in a directory or a tar archive, or any OCI registry. There is
one layer for each snapshot; layers that the place has already are not sent. NAME
tells several images of one layout apart; it defaults to the snapshot's tag or ID.`,
		Examples: []string{
			"seussctl snapshot export json-fn@v3 oci-archive:json-fn.tar",
			"seussctl snapshot export 4f1c0a docker://registry.example.org/seuss/json-fn:v3",
		},
		MinArgs: 2, MaxArgs: 2,
		Complete: cmdline.SnapshotIDs,
		Action: func(c *cli.Context, e *cmdline.Env) error {
			kind, where, name, err := splitPlace(c, c.Args().Get(1))
			if err != nil {
				return err
			}
			return e.Reading(func(r cmdline.Reader) error { return exportNode(e, c, r, c.Args().First(), kind, where, name) })
		},
	})
}

// splitPlace takes a PLACE apart.
func splitPlace(c *cli.Context, place string) (kind, where, name string, err error) {
	for _, kind := range []string{placeLayout, placeArchive, placeRegistry} {
		rest, ok := strings.CutPrefix(place, kind)
		if !ok {
			continue
		}
		if kind != placeRegistry {
			// A tag has an @ of its own: the first one ends the path.
			rest, name, _ = strings.Cut(rest, "@")
		}
		if rest == "" {
			break
		}
		return kind, rest, name, nil
	}
	return "", "", "", cmdline.Usagef(c.Command.HelpName, "place %q: want %s", place, placesText)
}

func exportNode(e *cmdline.Env, c *cli.Context, r cmdline.Reader, id, kind, where, name string) (err error) {
	n, err := r.Snapshot(c.Context, id)
	if err != nil {
		return err
	}
	if name == "" {
		name = cmdline.Short(n.ID)
		if len(n.Tags) > 0 {
			name = n.Tags[0]
		}
	}
	b, err := r.Export(c.Context, n.ID, func(step string) { e.Progress.Step(step, -1) })
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	e.Progress.Step("writing to "+where, -1)
	switch kind {
	case placeLayout:
		err = oci.WriteLayout(where, name, b)
	case placeArchive:
		err = oci.WriteArchive(where, name, b)
	default:
		err = oci.Push(c.Context, where, b)
	}
	if err != nil {
		return err
	}
	e.Progress.Clear()
	m, err := b.Manifest()
	if err != nil {
		return err
	}
	digest, err := b.Digest()
	if err != nil {
		return err
	}
	var bytes uint64
	for _, l := range m.Layers {
		bytes += uint64(l.Size)
	}
	if e.JSON {
		return e.PrintJSON(struct {
			ID     string `json:"id"`
			Digest string `json:"digest"`
			Name   string `json:"name,omitempty"`
			Layers int    `json:"layers"`
			Bytes  uint64 `json:"bytes"`
		}{n.ID, digest.String(), name, len(m.Layers), bytes})
	}
	_, err = fmt.Fprintf(e.Stdout, "%s  %d layers, %s  %s\n", cmdline.Short(n.ID), len(m.Layers), cmdline.FormatBytes(bytes), digest)
	return err
}

func snapshotImport(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:      "import",
		ArgsUsage: "PLACE",
		Usage:     "take over a snapshot and its ancestors from an OCI image",
		Description: `
PLACE is as for export; NAME may be left out where there is one image only. Every
layer is verified: digests, Merkle roots, ids, the image's digest, the guest ABI's
version and the CPU features that the snapshot needs. Layers whose snapshots are
here already are not fetched. The function has to be deployed here too, with the
same code, to be invoked from the snapshot.`,
		Examples: []string{
			"seussctl snapshot import oci-archive:json-fn.tar",
			"seussctl snapshot import docker://registry.example.org/seuss/json-fn:v3",
		},
		Flags:   []cli.Flag{&cli.StringFlag{Name: "tag", Usage: "`TAG` the snapshot"}},
		MinArgs: 1, MaxArgs: 1,
		Action: func(c *cli.Context, e *cmdline.Env) error {
			kind, where, name, err := splitPlace(c, c.Args().First())
			if err != nil {
				return err
			}
			if tag := c.String("tag"); c.IsSet("tag") && !lineage.ValidTag(tag) {
				return cmdline.Usagef(c.Command.HelpName, "--tag %q: want NAME or NAME@VERSION", tag)
			}
			return importNode(e, c, kind, where, name)
		},
	})
}

// openPlace opens the image at a PLACE to import it.
func openPlace(ctx context.Context, kind, where, name string) (*oci.Source, error) {
	switch kind {
	case placeLayout:
		return oci.OpenLayout(where, name)
	case placeArchive:
		f, err := os.Open(where)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return oci.OpenArchive(f, name, 0)
	}
	return oci.OpenRegistry(ctx, where)
}

func importNode(e *cmdline.Env, c *cli.Context, kind, where, name string) error {
	return e.WithEngine(dispatcher.Options{PoolSize: 1}, func(d cmdline.Service) (err error) {
		fail := func(err error) error { return fmt.Errorf("import from %s%s: %w", kind, where, err) }
		e.Progress.Step("opening "+where, -1)
		src, err := openPlace(c.Context, kind, where, name)
		if err != nil {
			return fail(err)
		}
		defer func() { err = errors.Join(err, src.Close()) }()
		done, err := d.Receive(c.Context, src, c.String("tag"))
		if err != nil {
			return fail(err)
		}
		e.Progress.Clear()
		if done.NameTaken != "" {
			e.Notef("the name %s stays with another image; the imported one is %s", done.NameTaken, cmdline.Short(done.Node.ImageDigest))
		}
		if e.JSON {
			return e.PrintJSON(struct {
				ID      string          `json:"id"`
				Added   []*api.Snapshot `json:"added"`
				Bytes   int64           `json:"bytes_read"`
				Skipped int             `json:"layers_skipped"`
			}{done.Node.ID, done.Added, done.Bytes, done.Skipped})
		}
		_, err = fmt.Fprintf(e.Stdout, "%s  %d snapshots added, %s read, %d layers were here already\n", cmdline.Short(done.Node.ID), len(done.Added), cmdline.FormatBytes(uint64(done.Bytes)), done.Skipped)
		return err
	})
}
