package app

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
)

// Places are written as skopeo writes them.
const (
	placeLayout   = "oci:"
	placeArchive  = "oci-archive:"
	placeRegistry = "docker://"
	placesText    = "oci:DIR[@NAME], oci-archive:FILE[@NAME] or docker://HOST/REPOSITORY:TAG"
)

func (e *env) snapshotExport() *cli.Command {
	return e.command(spec{
		name:  "export",
		args:  "ID PLACE",
		usage: "write a snapshot and its ancestors as an OCI image",
		description: `
PLACE is ` + placesText + `:
an OCI image layout in a directory or a tar archive, or any OCI registry. There is
one layer for each snapshot; layers that the place has already are not sent. NAME
tells several images of one layout apart; it defaults to the snapshot's tag or ID.`,
		examples: []string{
			"seussctl snapshot export json-fn@v3 oci-archive:json-fn.tar",
			"seussctl snapshot export 4f1c0a docker://registry.example.org/seuss/json-fn:v3",
		},
		minArgs: 2, maxArgs: 2,
		complete: nodeIDs,
		action: func(c *cli.Context, e *env) error {
			kind, where, name, err := splitPlace(c, c.Args().Get(1))
			if err != nil {
				return err
			}
			return e.withReading(func(s *lineage.Store) error { return e.exportNode(c, s, c.Args().First(), kind, where, name) })
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
	return "", "", "", usagef(c.Command.HelpName, "place %q: want %s", place, placesText)
}

func (e *env) exportNode(c *cli.Context, s *lineage.Store, id, kind, where, name string) (err error) {
	n, err := s.Get(id)
	if err != nil {
		return err
	}
	if name == "" {
		name = short(n.ID)
		if tags := api.SnapshotOf(s, n).Tags; len(tags) > 0 {
			name = tags[0]
		}
	}
	b, err := oci.Export(s, n.ID, func(step string) { e.progress.step(step, -1) })
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	e.progress.step("writing to "+where, -1)
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
	e.progress.clear()
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
	if e.json {
		return e.printJSON(struct {
			ID     string `json:"id"`
			Digest string `json:"digest"`
			Name   string `json:"name,omitempty"`
			Layers int    `json:"layers"`
			Bytes  uint64 `json:"bytes"`
		}{n.ID, digest.String(), name, len(m.Layers), bytes})
	}
	_, err = fmt.Fprintf(e.stdout, "%s  %d layers, %s  %s\n", short(n.ID), len(m.Layers), formatBytes(bytes), digest)
	return err
}

func (e *env) snapshotImport() *cli.Command {
	return e.command(spec{
		name:  "import",
		args:  "PLACE",
		usage: "take over a snapshot and its ancestors from an OCI image",
		description: `
PLACE is as for export; NAME may be left out where there is one image only. Every
layer is verified: digests, Merkle roots, ids, the image's digest, the guest ABI's
version and the CPU features that the snapshot needs. Layers whose snapshots are
here already are not fetched. The function has to be deployed here too, with the
same code, to be invoked from the snapshot.`,
		examples: []string{
			"seussctl snapshot import oci-archive:json-fn.tar",
			"seussctl snapshot import docker://registry.example.org/seuss/json-fn:v3",
		},
		flags:   []cli.Flag{&cli.StringFlag{Name: "tag", Usage: "`TAG` the snapshot"}},
		minArgs: 1, maxArgs: 1,
		action: func(c *cli.Context, e *env) error {
			kind, where, name, err := splitPlace(c, c.Args().First())
			if err != nil {
				return err
			}
			if tag := c.String("tag"); c.IsSet("tag") && !lineage.ValidTag(tag) {
				return usagef(c.Command.HelpName, "--tag %q: want NAME or NAME@VERSION", tag)
			}
			return e.importNode(c, kind, where, name)
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

func (e *env) importNode(c *cli.Context, kind, where, name string) error {
	return e.withEngine(dispatcher.Options{PoolSize: 1}, func(d service) (err error) {
		fail := func(err error) error { return fmt.Errorf("import from %s%s: %w", kind, where, err) }
		e.progress.step("opening "+where, -1)
		src, err := openPlace(c.Context, kind, where, name)
		if err != nil {
			return fail(err)
		}
		defer func() { err = errors.Join(err, src.Close()) }()
		done, err := d.Receive(c.Context, src, c.String("tag"))
		if err != nil {
			return fail(err)
		}
		e.progress.clear()
		if done.NameTaken != "" {
			e.notef("the name %s stays with another image; the imported one is %s", done.NameTaken, short(done.Node.ImageDigest))
		}
		if e.json {
			return e.printJSON(struct {
				ID      string          `json:"id"`
				Added   []*api.Snapshot `json:"added"`
				Bytes   int64           `json:"bytes_read"`
				Skipped int             `json:"layers_skipped"`
			}{done.Node.ID, done.Added, done.Bytes, done.Skipped})
		}
		_, err = fmt.Fprintf(e.stdout, "%s  %d snapshots added, %s read, %d layers were here already\n", short(done.Node.ID), len(done.Added), formatBytes(uint64(done.Bytes)), done.Skipped)
		return err
	})
}
