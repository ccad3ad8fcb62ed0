package instances

import (
	"regexp"
	"slices"
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
	// Made: Kept was made to keep it, and goes when nobody is kept as it.
	Made bool `json:"made,omitempty"`
	// Line are nodes that it was kept as and came back from, below each other.
	Line []string `json:"line,omitempty"`
}

// maxLine bounds how many nodes that an instance was kept as hang below each other: one more
// with each time that it comes back. Beyond that they become one.
const maxLine = 8

// note writes down what instances are.
func (k *Keeper) note(sync bool, list ...*Instance) error {
	if k.records == nil {
		return nil
	}
	changes := make([]records.Change, len(list))
	for n, i := range list {
		i.mu.Lock()
		changes[n] = records.Change{Key: i.key, Value: record{i.info, i.spec, i.kept, i.info.State == Paused, i.made, i.line}}
		i.mu.Unlock()
	}
	return k.records.Write(sync, changes...)
}

// keepAs has it come back as a node, and returns what it would have come back as.
func (i *Instance) keepAs(node string, made bool) (before string, wasMade bool) {
	i.k.mu.Lock()
	defer i.k.mu.Unlock()
	i.mu.Lock()
	defer i.mu.Unlock()
	before, wasMade = i.kept, i.made
	i.kept, i.made = node, made
	if node != "" {
		i.k.kept[node]++
	}
	if before != "" {
		if i.k.kept[before]--; i.k.kept[before] == 0 {
			delete(i.k.kept, before)
		}
	}
	return before, wasMade
}

// unseal lets go of nodes that were made to keep instances, unless one comes back as it.
func (i *Instance) unseal(nodes ...string) {
	for _, node := range nodes {
		i.k.mu.Lock()
		wanted := i.k.kept[node] > 0
		i.k.mu.Unlock()
		if !wanted && i.k.o.Unseal != nil {
			i.k.o.Unseal(node)
		}
	}
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
	same := i.kept == node
	i.mu.Unlock()
	made := node != i.body.Node() // else it is somebody's
	if same {
		made = i.made
	}
	before, wasMade := i.keepAs(node, made)
	if err := i.k.note(true, i); err != nil {
		i.keepAs(before, wasMade)
		if made && !same {
			i.unseal(node)
		}
		i.dirty = true
		return err
	}
	if wasMade && !same {
		i.unseal(before)
	}
	return nil
}

// keepAfter keeps it after what it was asked for.
func (i *Instance) keepAfter(c *command) error {
	switch {
	case c.keeps:
		return nil
	case c.idle && !c.over: // it is what it was
		return i.k.note(true, i)
	case c.later:
		if !i.dirty {
			i.sealed, i.dirty = time.Now(), true
		}
		return nil
	}
	i.dirty = true
	return i.keep()
}

// changes notes, before it does what it is asked for, that it will be another than what it
// came back as: unless it is durable it is kept again when the service ends in order.
func (i *Instance) changes(c *command) error {
	if c.still || c.idle && !c.over || i.k.records == nil || i.spec.Durable || i.kept == "" {
		return nil
	}
	before, wasMade := i.keepAs("", false)
	if err := i.k.note(true, i); err != nil {
		i.keepAs(before, wasMade)
		return &Refusal{err}
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
func (i *Instance) forget() bool {
	if i.k.records == nil {
		return false
	}
	if err := i.k.records.Write(false, records.Change{Key: i.key}); err != nil { // as what it was kept as
		i.k.o.Log.Error("an instance that was removed may come back", "owner", i.owner, "instance", i.info.Name, "error", err)
		return false
	}
	return true
}

// release lets go of what it was kept as, once it is no more.
func (i *Instance) release() {
	if before, made := i.keepAs("", false); made {
		i.unseal(before)
	}
	for _, node := range slices.Backward(i.line) {
		i.unseal(node)
	}
}
