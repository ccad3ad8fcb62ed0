package cmdline

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"seuss/dispatcher"
	"seuss/guest"
	"seuss/images"
	"seuss/lineage"
)

// ImageUse is who needs an image.
type ImageUse struct {
	Functions []string `json:"functions"` // that name it
	Snapshots int      `json:"snapshots"` // that hold only what differs from it
}

// ImageUses returns who needs images, by their digests.
func ImageUses(ctx context.Context, e *Env) (map[string]ImageUse, error) {
	uses := map[string]ImageUse{}
	err := e.Reading(func(r Reader) error {
		functions, err := r.Functions(ctx)
		if err != nil {
			return err // what cannot be read may need any
		}
		for _, f := range functions {
			name := f.Image
			if name == "" {
				name = DefaultImage
			}
			if path, err := e.Images().Find(name); err == nil {
				u := uses[imageDigest(path)]
				u.Functions = append(u.Functions, f.Name)
				uses[imageDigest(path)] = u
			}
		}
		snapshots, err := r.Snapshots(ctx)
		for _, s := range snapshots {
			if s.Kind != lineage.KindImage {
				u := uses[s.ImageDigest]
				u.Snapshots++
				uses[s.ImageDigest] = u
			}
		}
		return err
	})
	if errors.Is(err, ErrNothing) {
		return uses, nil
	}
	return uses, err
}

func imageDigest(path string) string {
	return strings.TrimSuffix(filepath.Base(path), guest.ImageSuffix)
}

// RemoveImage is the dispatcher's, through the daemon where one runs.
func RemoveImage(ctx context.Context, e *Env, ref string, cascade bool) (done dispatcher.RemovedImage, err error) {
	if d := e.Daemon(); d != nil {
		defer func() { err = errors.Join(err, d.Close()) }()
		return d.RemoveImage(ctx, ref, cascade)
	}
	path, err := e.Images().Find(ref)
	if err != nil {
		return done, err
	}
	done.Image, done.Nodes = imageDigest(path), []string{}
	err = e.WithStore(func(s *lineage.Store) (err error) {
		if done.Names, err = e.Images().Unname(ref, cascade); err != nil || done.Names != nil {
			return err
		}
		for _, n := range s.Kind(lineage.KindImage) {
			if n.ImageDigest != done.Image {
				continue
			}
			below := Descendants(s, n.ID)
			if len(below) > 0 && !cascade {
				return fmt.Errorf("image %s has %d snapshots; remove them too with --cascade", ref, len(below))
			}
			if err := s.Remove(n.ID, true); err != nil {
				return err
			}
			done.Nodes = append(append(done.Nodes, below...), n.ID)
		}
		return e.Images().Remove(ref)
	})
	return done, err
}

// unusedAge is how long an image that nobody needs stays: somebody may have built it a
// moment ago and be about to use it.
const unusedAge = time.Hour

// Pruned is what PruneImages has removed.
type Pruned struct {
	Images []string `json:"images"` // digests
	Layers int      `json:"layers"`
	Bytes  int64    `json:"bytes"` // of both
}

// PruneImages removes the images that have no name and that neither functions nor
// snapshots need, of those that only names, if it is not nil; all, even those of the last
// hour. Then it removes the layers that no image is made of.
func PruneImages(ctx context.Context, e *Env, only func(digest string) bool, all bool) (Pruned, error) {
	done := Pruned{Images: []string{}}
	uses, err := ImageUses(ctx, e)
	if err != nil {
		return done, err
	}
	list, err := e.Images().List()
	if err != nil {
		return done, err
	}
	for _, i := range list {
		u, used := uses[i.Digest]
		unneeded := len(i.Tags) == 0 && !(used && u.Snapshots+len(u.Functions) > 0) && (only == nil || only(i.Digest)) && (all || time.Since(i.Created) >= unusedAge)
		if unneeded {
			if _, err := RemoveImage(ctx, e, i.Digest, false); err != nil {
				return done, err
			}
			done.Images, done.Bytes = append(done.Images, i.Digest), done.Bytes+i.Bytes
		}
	}
	return done, pruneLayers(e, all, &done)
}

func pruneLayers(e *Env, all bool, done *Pruned) error {
	var age time.Duration // the store's own: somebody may fetch an image for hours
	if all {
		age = time.Nanosecond
	}
	gone, err := e.Images().CollectLayers(age)
	for _, l := range gone {
		done.Layers, done.Bytes = done.Layers+1, done.Bytes+l.Disk
	}
	return err
}

// tidy removes what a source led to before, and nobody names or needs. It is a service
// that may fail: prune does the same.
func tidy(ctx context.Context, e *Env, reference, now string) {
	origins, err := e.Images().Origins()
	if err != nil {
		return
	}
	_, _ = PruneImages(ctx, e, func(digest string) bool {
		return digest != now && slices.ContainsFunc(origins[digest], func(o images.Origin) bool { return o.Reference == reference }) &&
			!slices.ContainsFunc(origins[digest], func(o images.Origin) bool { return o.Reference != reference })
	}, false)
}
