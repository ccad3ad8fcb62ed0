package cmdline

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"seuss/dispatcher/api"
	"seuss/dispatcher/bounds"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/imports"
	"seuss/dispatcher/planner"
	"seuss/images"
	"seuss/lineage"
)

// Reader is what commands that change nothing work on: the daemon's service where one
// runs on the state directory, which is not read then, else what is stored there.
type Reader interface {
	api.Inspections
	Snapshots(ctx context.Context) ([]*api.Snapshot, error)
	Snapshot(ctx context.Context, ref string) (*api.Snapshot, error)
	// Functions lists what is deployed; with an error that of it which can be read.
	Functions(ctx context.Context) ([]api.Function, error)
	// FunctionImports says what the load of a function's code has imported.
	FunctionImports(ctx context.Context, name string) (*imports.Record, error)
	// FunctionStart says where the code is loaded by the plans; nil where no daemon runs.
	FunctionStart(ctx context.Context, name string) (*planner.Start, error)
}

// ErrNothing: there is no state directory yet.
var ErrNothing = fmt.Errorf("nothing is stored yet: %w", lineage.ErrNotFound)

// Reading runs f with a Reader. The error matches ErrNothing where nothing is stored.
func (e *Env) Reading(f func(Reader) error) (err error) {
	if d := e.Daemon(); d != nil {
		defer func() { err = errors.Join(err, d.Close()) }()
		return f(d)
	}
	s, err := e.ReadStore()
	if err != nil {
		return err
	}
	if s == nil {
		return fmt.Errorf("state directory %s: %w", e.StateDir, ErrNothing)
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	deployed, err := Deployments(s)
	if err != nil {
		return err
	}
	return f(stored{api.NewKept(s), deployed})
}

// stored is a Reader of a state directory.
type stored struct {
	api.Kept
	deployed *functions.Store
}

func (s stored) Functions(context.Context) ([]api.Function, error) {
	list := []api.Function{}
	records, err := s.deployed.List() // the list holds what can be read
	for _, f := range records {
		list = append(list, api.FunctionOf(s.Store, s.deployed, f, &bounds.Outer{Others: true}))
	}
	return list, err
}

func (s stored) FunctionImports(_ context.Context, name string) (*imports.Record, error) {
	f, err := s.deployed.Get(name)
	if err != nil {
		return nil, err
	}
	return api.ImportsOf(s.deployed, f)
}

func (s stored) FunctionStart(context.Context, string) (*planner.Start, error) { return nil, nil }

// ListImages lists the images that there are, the newest first.
func ListImages(ctx context.Context, e *Env) (list []api.Image, err error) {
	if d := e.Daemon(); d != nil {
		defer func() { err = errors.Join(err, d.Close()) }()
		return d.ListImages(ctx)
	}
	return api.ImagesOf(e.Images())
}

// ImageTags returns the names that lead to images, by digest.
func ImageTags(ctx context.Context, e *Env) map[string]string {
	tags := map[string]string{}
	list, err := ListImages(ctx, e)
	if err != nil {
		return tags // the names are a decoration
	}
	for _, i := range list {
		tags[i.Digest] = strings.Join(i.Tags, ",")
	}
	return tags
}

// hasImage reports whether there is an image of a name, or of the beginning of a
// digest.
func hasImage(ctx context.Context, e *Env, ref string) (has bool, err error) {
	d := e.Daemon()
	if d == nil {
		_, err := e.Images().Find(ref)
		if errors.Is(err, images.ErrNotFound) {
			return false, nil
		}
		return err == nil, err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	list, err := d.ListImages(ctx)
	for _, i := range list {
		for _, tag := range i.Tags {
			has = has || tag == ref
		}
		has = has || len(ref) >= 6 && strings.HasPrefix(i.Digest, ref)
	}
	return has, err
}

// ImageNames are the completions for an image.
func ImageNames(e *Env) (names []string) {
	list, err := ListImages(context.Background(), e)
	if err != nil {
		return nil // a completion has nobody to tell
	}
	for _, i := range list {
		names = append(names, i.Tags...)
	}
	return names
}

// FunctionNames are the completions for a function.
func FunctionNames(e *Env) (names []string) {
	_ = e.Reading(func(r Reader) error {
		list, err := r.Functions(context.Background())
		for _, f := range list {
			names = append(names, f.Name)
		}
		return err
	})
	return names
}

// SnapshotIDs are the completions for a snapshot.
func SnapshotIDs(e *Env) (ids []string) {
	_ = e.Reading(func(r Reader) error {
		list, err := r.Snapshots(context.Background())
		for _, n := range list {
			ids = append(ids, Short(n.ID))
		}
		return err
	})
	return ids
}
