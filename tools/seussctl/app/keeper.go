package app

import (
	"context"
	"errors"
	"net/url"
	"time"

	"seuss/dispatcher/api"
	"seuss/lineage"
)

// keeper changes what a state directory keeps: its store itself, or the daemon that
// holds it.
type keeper interface {
	GC(lineage.GCOptions) (lineage.GCReport, error)
	Pin(id string, expires time.Time) error
	Unpin(id string) error
	SetTag(name, id string) error
	RemoveTag(name string) error
	SetExpiry(id string, at time.Time) error
	Reform(id string, form lineage.Form) (before, after uint64, err error)
	Flatten(id, onto string) (*lineage.Node, error)
}

var (
	_ keeper = localKeeper{}
	_ keeper = (*remoteKeeper)(nil)
)

// localKeeper is a store of this process.
type localKeeper struct {
	*lineage.Store
	lineage.Marks
}

// withKeeper runs f with what may change the snapshots, and a store to read: that
// of a daemon is as it was before, until reread.
func (e *env) withKeeper(ctx context.Context, f func(s *lineage.Store, k keeper) error) (err error) {
	d := e.daemon()
	if d == nil {
		return e.withStore(func(s *lineage.Store) error { return f(s, localKeeper{s, s.Marks()}) })
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	if err := d.refresh(ctx); err != nil {
		return err
	}
	s := d.Store()
	if s == nil {
		return errNoRead
	}
	return f(s, &remoteKeeper{ctx, d})
}

// reread returns a store that shows what k has changed; s is the one of withKeeper.
func reread(s *lineage.Store, k keeper) (*lineage.Store, error) {
	r, ok := k.(*remoteKeeper)
	if !ok {
		return s, nil
	}
	if err := r.closeStore(); err != nil {
		return nil, err
	}
	if s = r.Store(); s == nil {
		return nil, errNoRead
	}
	return s, nil
}

// remoteKeeper asks a daemon.
type remoteKeeper struct {
	ctx context.Context
	*remote
}

func snapshotPath(id string) string { return "/v1/snapshots/" + url.PathEscape(id) }

func (r *remoteKeeper) GC(o lineage.GCOptions) (report lineage.GCReport, err error) {
	err = r.call(r.ctx, "POST", "/v1/gc", api.GC{BudgetBytes: o.Budget, UnusedMS: o.Unused.Milliseconds(), Damaged: o.Damaged, DryRun: o.DryRun}, &report)
	if err != nil || r.Store() == nil {
		return report, err
	}
	for i := range report.Removed { // they are known from before
		if n, err := r.Store().Get(report.Removed[i].ID); report.Removed[i].ID != "" && err == nil {
			report.Removed[i].Node = n
		}
	}
	return report, nil
}

func (r *remoteKeeper) mark(m api.Mark) error { return r.call(r.ctx, "POST", "/v1/marks", m, nil) }

func (r *remoteKeeper) Pin(id string, expires time.Time) error {
	return r.mark(api.Mark{Action: api.Pin, Node: id, At: expires})
}

func (r *remoteKeeper) Unpin(id string) error { return r.mark(api.Mark{Action: api.Unpin, Node: id}) }

func (r *remoteKeeper) SetTag(name, id string) error {
	return r.mark(api.Mark{Action: api.Tag, Node: id, Tag: name})
}

func (r *remoteKeeper) RemoveTag(name string) error {
	return r.mark(api.Mark{Action: api.Untag, Tag: name})
}

func (r *remoteKeeper) SetExpiry(id string, at time.Time) error {
	return r.mark(api.Mark{Action: api.Expire, Node: id, At: at})
}

func (r *remoteKeeper) Reform(id string, form lineage.Form) (before, after uint64, err error) {
	var done api.Reformed
	err = r.call(r.ctx, "POST", snapshotPath(id)+"/form", api.Reform{Form: form.String()}, &done)
	return done.Before, done.After, err
}

func (r *remoteKeeper) Flatten(id, onto string) (*lineage.Node, error) {
	return r.node(r.ctx, "POST", snapshotPath(id)+"/flatten", api.Flatten{Onto: onto})
}
