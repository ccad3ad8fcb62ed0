package instances

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"time"

	"seuss/dispatcher/instances/records"
)

// What is durable is kept after each thing that it was asked for, before the answer leaves,
// and where it goes on by itself every keepEvery; what has a name that somebody gave it, when
// the service ends in order. Of all others it is known that there were such.

const keepEvery = 5 * time.Second

// record is what is written of an instance.
type record struct {
	Info   Info   `json:"info"`
	Spec   Spec   `json:"spec"`
	Kept   string `json:"kept,omitempty"` // the node that it goes on as; "": it is lost with the service
	Paused bool   `json:"paused,omitempty"`
}

// note writes down what instances are.
func (k *Keeper) note(sync bool, list ...*Instance) error {
	if k.records == nil {
		return nil
	}
	changes := make([]records.Change, len(list))
	for n, i := range list {
		i.mu.Lock()
		changes[n] = records.Change{Key: i.key, Value: record{i.info, i.spec, i.kept, i.info.State == Paused}}
		i.mu.Unlock()
	}
	return k.records.Write(sync, changes...)
}

// keep makes it what is there after the service has died.
func (i *Instance) keep() error {
	if i.k.records == nil {
		return nil
	}
	i.mu.Lock()
	failed := i.info.State == Failed
	i.mu.Unlock()
	i.sealed, i.dirty = time.Now(), false
	if failed { // it stays what it was before
		return nil
	}
	node, err := i.body.Seal()
	if err != nil {
		i.dirty = true
		return err
	}
	i.mu.Lock()
	before := i.kept
	i.kept = node
	i.mu.Unlock()
	if err := i.k.note(true, i); err != nil {
		i.mu.Lock()
		i.kept = before
		i.mu.Unlock()
		i.dirty = true
		return err
	}
	if before != "" && before != node {
		i.body.Unseal(before)
	}
	return nil
}

// madeUp are names of NewName.
var madeUp = regexp.MustCompile(`^i-[0-9a-f]{12}$`)

// stay is its end with that of the service.
func (i *Instance) stay() {
	if !i.spec.Durable && madeUp.MatchString(i.info.Name) || i.spec.Durable && !i.dirty {
		return
	}
	if err := i.keep(); err != nil {
		i.k.o.Log.Error("an instance does not come back as it was", "owner", i.owner, "instance", i.info.Name, "error", err)
	}
}

// forget is its end before that of the service.
func (i *Instance) forget() {
	if i.k.records == nil {
		return
	}
	if err := i.k.records.Write(false, records.Change{Key: i.key}); err != nil {
		i.k.o.Log.Error("an instance that was removed may come back", "owner", i.owner, "instance", i.info.Name, "error", err)
	}
	if i.kept != "" {
		i.body.Unseal(i.kept)
	}
}

var errLost = errors.New("it ended with the service, and was not durable: roll it back to a snapshot (seussctl instance rollback), or remove it")

// Restore brings back what was kept. What was not is there as one that has failed, and says
// so. It is called once, before anything else is asked of a Keeper.
func (k *Keeper) Restore() error {
	if k.o.Records == "" {
		return nil
	}
	l, list, damaged, err := records.Open(k.o.Records)
	if err != nil {
		return err
	}
	k.records = l
	for _, err := range damaged {
		k.o.Log.Error("what is known of an instance is damaged: it is lost", "error", err)
	}
	for key, raw := range list {
		var r record
		if err := json.Unmarshal(raw, &r); err != nil || keyOf(r.Info.Owner, r.Spec.Name) != key {
			k.o.Log.Error("what is known of an instance is damaged: it is lost", "instance", key, "error", err)
			continue
		}
		if err := k.restore(&r); err != nil {
			k.o.Log.Error("an instance is lost", "owner", r.Info.Owner, "instance", r.Info.Name, "error", err)
		}
	}
	return nil
}

func (k *Keeper) restore(r *record) error {
	i := newInstance(k, r.Info.Owner, r.Spec)
	as := r.Spec // it begins as
	as.Function, as.Image, as.Snapshot = "", "", r.Kept
	if r.Kept == "" {
		as.Snapshot = r.Info.Node
	}
	if err := k.enter([]*Instance{i}, 0); err != nil {
		return err
	}
	body, err := k.o.Make(context.Background(), r.Info.Owner, &as)
	if err != nil {
		k.leave(i)
		return fmt.Errorf("its snapshot: %w", err)
	}
	i.info, i.kept = r.Info, r.Kept
	i.prepare(body)
	i.info.State, i.info.Failure = Parked, ""
	switch {
	case r.Kept == "":
		body.End()
		i.info.State, i.info.Failure = Failed, errLost.Error()
		k.o.Log.Warn("an instance is lost: it was not durable", "owner", r.Info.Owner, "instance", r.Info.Name)
	case r.Paused:
		i.info.State = Paused
	}
	i.begin()
	return nil
}
