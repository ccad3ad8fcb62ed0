package app

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"seuss/guest"
	"seuss/images"
	"seuss/lineage"
	"seuss/lineage/oci"
	"seuss/vmm"
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
		if tags := newNodeItem(s, n).Tags; len(tags) > 0 {
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

func (e *env) importNode(c *cli.Context, kind, where, name string) (err error) {
	checkCPU, err := e.cpuChecker()
	if err != nil {
		return err
	}
	o := oci.ImportOptions{
		ABIVersion: guest.Version, CheckCPU: checkCPU, CheckImage: checkImage,
		Tell: func(step string) { e.progress.step(step, -1) },
	}
	s, err := lineage.Open(e.stateDir, lineage.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	var done *oci.Imported
	switch kind {
	case placeLayout:
		done, err = oci.ReadLayout(s, where, name, o)
	case placeArchive:
		var f *os.File
		if f, err = os.Open(where); err == nil {
			done, err = oci.ReadArchive(s, f, name, o)
			f.Close()
		}
	default:
		done, err = oci.Pull(c.Context, s, where, o)
	}
	if err != nil {
		return err
	}
	// Pages that others share are mapped, not expanded by each of them.
	for _, n := range done.Added {
		if _, _, err := s.Reform(n.ID, lineage.FormAuto); err != nil {
			return err
		}
	}
	if err := e.nameImage(s, done.Node.ImageDigest); err != nil {
		return err
	}
	if c.IsSet("tag") {
		if err := s.SetTag(c.String("tag"), done.Node.ID); err != nil {
			return err
		}
	}
	e.progress.clear()
	if e.json {
		items := []*nodeItem{}
		for _, n := range done.Added {
			items = append(items, newNodeItem(s, n))
		}
		return e.printJSON(struct {
			ID      string      `json:"id"`
			Added   []*nodeItem `json:"added"`
			Bytes   int64       `json:"bytes_read"`
			Skipped int         `json:"layers_skipped"`
		}{done.Node.ID, items, done.Bytes, done.Skipped})
	}
	_, err = fmt.Fprintf(e.stdout, "%s  %d snapshots added, %s read, %d layers were here already\n", short(done.Node.ID), len(done.Added), formatBytes(uint64(done.Bytes)), done.Skipped)
	return err
}

// nameImage gives an imported image the name that it was built under, unless
// another one has it here.
func (e *env) nameImage(s *lineage.Store, digest string) error {
	image, err := images.Open(s.ImagePath(digest), images.SkipDigest())
	if err != nil {
		return err
	}
	name := image.Config().Name
	if err := image.Close(); err != nil {
		return err
	}
	named, err := e.images().TagNew(name, digest)
	if err == nil && !named {
		if path, findErr := e.images().Find(name); findErr != nil || path != s.ImagePath(digest) {
			e.notef("the name %s stays with another image; the imported one is %s", name, short(digest))
		}
	}
	return err
}

// cpuChecker compares features with those of the platform that would run the
// snapshot.
func (e *env) cpuChecker() (func(lineage.CPUFeatures) error, error) {
	platform, err := e.openPlatform()
	if err != nil {
		return nil, fmt.Errorf("the CPU features of guests cannot be found out: %w", err)
	}
	host := platform.CPU().Features
	if err := platform.Close(); err != nil {
		return nil, err
	}
	return func(f lineage.CPUFeatures) error {
		recorded := vmm.CPUFeatures{Names: f.Named, XSaveBytes: host.XSaveBytes}
		if missing := recorded.Missing(host); len(missing) > 0 {
			return fmt.Errorf("taken on %s, this host lacks %s", f.Opaque, strings.Join(missing, ", "))
		}
		return nil
	}, nil
}

// checkImage verifies a root image's content against its digest.
func checkImage(path, digest string) error {
	image, err := images.Open(path)
	if err != nil {
		return err
	}
	defer image.Close()
	if got := image.Digest().String(); got != digest {
		return fmt.Errorf("image has the digest %s, want %s: %w", got, digest, images.ErrCorrupt)
	}
	return nil
}
