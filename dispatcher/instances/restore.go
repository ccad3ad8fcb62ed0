package instances

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"seuss/dispatcher/instances/records"
)

var errLost = errors.New("it ended with the service, and was not durable: roll it back to a snapshot (seussctl instance rollback), or remove it")

// Recorded returns the nodes at which the instances stand that are in a file of records, and
// the names of these, "OWNER/NAME" each. Nothing is changed.
func Recorded(path string) (map[string]string, error) {
	list, _, err := records.Read(path)
	if err != nil {
		return nil, err
	}
	nodes := make(map[string]string, len(list))
	for key, raw := range list {
		var r record
		if json.Unmarshal(raw, &r) != nil {
			continue // Restore says so
		}
		for _, node := range []string{r.Info.Node, r.Kept} {
			if node != "" {
				nodes[node] = key
			}
		}
	}
	return nodes, nil
}

// Restore brings back what was kept. What was not, or cannot be brought back, is there as one
// that has failed, and says so. It is called once, before anything else is asked of a Keeper.
func (k *Keeper) Restore() error {
	if k.o.Records == "" {
		return nil
	}
	if k.o.Leave {
		var err error
		k.others, err = Recorded(k.o.Records)
		return err
	}
	l, list, damaged, err := records.Open(k.o.Records)
	if err != nil {
		return err
	}
	k.records = l
	for _, err := range damaged {
		k.o.Log.Error("what is known of an instance is damaged: it is lost", "error", err)
	}
	var all []*record
	for key, raw := range list {
		r := new(record)
		if err := json.Unmarshal(raw, r); err != nil || keyOf(r.Info.Owner, r.Spec.Name) != key {
			k.o.Log.Error("what is known of an instance is damaged: it is lost", "instance", key, "error", err)
			continue
		}
		all = append(all, r)
	}
	// Where a bound is lower than it was the oldest come back.
	slices.SortFunc(all, func(a, b *record) int { return a.Info.Created.Compare(b.Info.Created) })
	back := make([]*Instance, len(all))
	for n, r := range all {
		i := newInstance(k, r.Info.Owner, r.Spec)
		i.info, i.kept.line = r.Info, r.Line
		i.info.State, i.info.Failure = Parked, ""
		i.kept.as(r.Kept, r.Made) // of all before a node is let go of
		back[n] = i
	}
	for n, r := range all {
		k.restore(back[n], r)
	}
	return nil
}

func (k *Keeper) restore(i *Instance, r *record) {
	body, err := k.reborn(i, r)
	switch {
	case err != nil:
		body = &lost{i: i, node: r.Info.Node, image: r.Image}
		i.info.State, i.info.Failure = Failed, err.Error()
		k.o.Log.Error("an instance is not back", "owner", i.owner, "instance", i.info.Name, "error", err)
	case i.kept.node == "":
		body.End()
		i.info.State, i.info.Failure = Failed, errLost.Error()
		k.o.Log.Warn("an instance is lost: it was not durable", "owner", i.owner, "instance", i.info.Name)
	case r.Paused:
		i.info.State = Paused
	}
	i.prepare(body)
	if err == nil && i.kept.made {
		k.shorten(i)
	}
	i.begin()
}

// reborn makes what a record says. The instance is in the lists in any case.
func (k *Keeper) reborn(i *Instance, r *record) (Body, error) {
	if err := k.enter([]*Instance{i}, 0); err != nil {
		k.mu.Lock()
		k.add(i, 0)
		k.mu.Unlock()
		return nil, fmt.Errorf("it is kept, and comes back when there is room for it and the service begins: %w", err)
	}
	node := i.kept.node
	if node == "" {
		node = r.Info.Node
	}
	body, err := k.o.Make(context.Background(), i.owner, i.as(node))
	if err != nil {
		return nil, fmt.Errorf("it does not begin as the snapshot that it was at last, %.12s: %w", node, err)
	}
	return body, nil
}

// as is the spec of what begins as a node.
func (i *Instance) as(node string) *Spec {
	s := i.spec
	s.Function, s.Image, s.Snapshot = "", "", node
	return &s
}

// shorten notes what an instance has come back from, and makes one node of many.
func (k *Keeper) shorten(i *Instance) {
	if slices.Contains(i.kept.line, i.kept.node) { // nothing was asked of it since it came back last
		return
	}
	line := append(slices.Clone(i.kept.line), i.kept.node)
	if len(line) <= maxLine || k.o.Flatten == nil {
		i.kept.line = line
		return
	}
	node, err := k.o.Flatten(i.kept.node)
	var body Body
	if err == nil {
		body, err = k.o.Make(context.Background(), i.owner, i.as(node))
	}
	if err != nil {
		k.o.Log.Warn("the snapshots that an instance has come back from stay below each other", "owner", i.owner, "instance", i.info.Name, "nodes", len(line), "error", err)
		i.kept.line = line
		return
	}
	i.body.Close()
	i.prepare(body)
	before, wasMade := i.kept.as(node, true)
	i.kept.line = []string{node}
	if err := k.note(true, i); err != nil {
		i.kept.as(before, wasMade)
		i.kept.line = line
		return
	}
	for _, node := range slices.Backward(line) {
		i.kept.unseal(node)
	}
}

// lost is the Body of an instance that could not be brought back: it has failed, and can be
// rolled back to a snapshot that there is, or removed. Nothing else is asked of it.
type lost struct {
	Body  // none
	i     *Instance
	node  string
	image string // its digest; "": it is not known
}

func (l *lost) Wait(until time.Time, _ bool, bell <-chan struct{}) End {
	var passed <-chan time.Time
	if !until.IsZero() {
		t := time.NewTimer(time.Until(until))
		defer t.Stop()
		passed = t.C
	}
	select {
	case <-bell:
		return Rung
	case <-passed:
		return Passed
	case <-l.i.k.ctx.Done():
		return Closed
	}
}

// Rollback has the instance be another body, where its owner may have as many.
func (l *lost) Rollback(ctx context.Context, node string) error {
	k := l.i.k
	k.mu.Lock()
	err := k.within(l.i.owner, 0)
	k.mu.Unlock()
	var body Body
	if err == nil {
		body, err = k.o.Make(ctx, l.i.owner, l.i.as(node))
	}
	if err == nil && l.image != "" && body.Image() != l.image {
		body.Close()
		err = fmt.Errorf("snapshot %.12s is of another image: %w", node, ErrInvalid)
	}
	if err != nil {
		return &Refusal{err}
	}
	l.i.mu.Lock()
	l.i.body, l.i.kept.image = body, body.Image()
	l.i.mu.Unlock()
	return nil
}

func (l *lost) Image() string { return l.image }
func (l *lost) Node() string  { return l.node }
func (l *lost) Bytes() uint64 { return 0 }
func (l *lost) End()          {}
func (l *lost) Close()        {}
