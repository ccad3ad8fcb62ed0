package snapshotcmd

import (
	"context"
	"errors"

	"seuss/dispatcher/api"
	"seuss/lineage"
	"seuss/tools/seussctl/cmdline"
)

// withSnapshots runs f with the snapshots, to be changed: those of the daemon that
// holds the state directory, else those of its store.
func withSnapshots(e *cmdline.Env, f func(api.Snapshots) error) (err error) {
	if d := e.Daemon(); d != nil {
		defer func() { err = errors.Join(err, d.Close()) }()
		return f(d)
	}
	return e.WithStore(func(s *lineage.Store) error { return f(api.NewKept(s)) })
}

// snapshots lists the snapshots that there are, oldest first.
func snapshots(ctx context.Context, e *cmdline.Env) (list []*api.Snapshot, err error) {
	err = e.Reading(func(r cmdline.Reader) (err error) {
		list, err = r.Snapshots(ctx)
		return err
	})
	if errors.Is(err, cmdline.ErrNothing) {
		return []*api.Snapshot{}, nil
	}
	return list, err
}

// below returns the ids of a snapshot's descendants.
func below(list []*api.Snapshot, id string) (ids []string) {
	for _, n := range list {
		if n.Parent == id {
			ids = append(append(ids, n.ID), below(list, n.ID)...)
		}
	}
	return ids
}
