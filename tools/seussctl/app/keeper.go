package app

import (
	"context"
	"errors"

	"seuss/dispatcher/api"
	"seuss/lineage"
)

// withSnapshots runs f with the snapshots, to be changed: those of the daemon that
// holds the state directory, else those of its store.
func (e *env) withSnapshots(f func(api.Snapshots) error) (err error) {
	if d := e.daemon(); d != nil {
		defer func() { err = errors.Join(err, d.Close()) }()
		return f(d)
	}
	return e.withStore(func(s *lineage.Store) error { return f(api.Kept{Store: s}) })
}

// snapshots lists the snapshots that there are, oldest first.
func (e *env) snapshots(ctx context.Context) (list []*api.Snapshot, err error) {
	if d := e.daemon(); d != nil {
		defer func() { err = errors.Join(err, d.Close()) }()
		return d.Snapshots(ctx)
	}
	s, err := e.readStore()
	if s == nil || err != nil {
		return []*api.Snapshot{}, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return api.Kept{Store: s}.Snapshots(ctx)
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
