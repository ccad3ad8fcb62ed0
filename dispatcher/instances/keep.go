package instances

import (
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
	// Image is the digest of its image; "": an earlier release has written it.
	Image string `json:"image,omitempty"`
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
		changes[n] = records.Change{Key: i.key, Value: record{i.info, i.spec, i.kept.node, i.info.State == Paused, i.kept.made, i.kept.line, i.kept.image}}
		i.mu.Unlock()
	}
	return k.records.Write(sync, changes...)
}

// keeping is what an instance is kept as.
type keeping struct {
	i      *Instance
	sealed time.Time // when it was kept last; its goroutine's
	dirty  bool      // it may be another by now; its goroutine's
	image  string    // of its body
	line   []string  // nodes that it was kept as before, and came back from; its goroutine's

	node string // of what it was when it was kept last; "": it was not; i.mu
	made bool   // to keep it, or others that are the same; i.mu
}

// as has it come back as a node, and returns what it would have come back as.
func (k *keeping) as(node string, made bool) (before string, wasMade bool) {
	k.i.k.mu.Lock()
	defer k.i.k.mu.Unlock()
	k.i.mu.Lock()
	defer k.i.mu.Unlock()
	before, wasMade = k.node, k.made
	k.node, k.made = node, made
	if node != "" {
		k.i.k.kept[node]++
	}
	if before != "" {
		if k.i.k.kept[before]--; k.i.k.kept[before] == 0 {
			delete(k.i.k.kept, before)
		}
	}
	return before, wasMade
}

// unseal lets go of nodes that were made to keep instances, unless one comes back as it.
func (k *keeping) unseal(nodes ...string) {
	for _, node := range nodes {
		k.i.k.mu.Lock()
		wanted := k.i.k.kept[node] > 0
		k.i.k.mu.Unlock()
		if !wanted && k.i.k.o.Unseal != nil {
			k.i.k.o.Unseal(node)
		}
	}
}

// now makes it what is there after the service has died.
func (k *keeping) now() error {
	if k.i.k.records == nil {
		return nil
	}
	k.i.mu.Lock()
	failed := k.i.info.State == Failed
	k.i.mu.Unlock()
	k.sealed, k.dirty = time.Now(), false
	if failed { // it stays what it was before
		return nil
	}
	node, err := k.i.body.Seal()
	if err != nil {
		k.dirty = true
		return err
	}
	k.i.mu.Lock()
	same := k.node == node
	k.i.mu.Unlock()
	made := node != k.i.body.Node() // else it is somebody's
	if same {
		made = k.made
	}
	before, wasMade := k.as(node, made)
	if err := k.i.k.note(true, k.i); err != nil {
		k.as(before, wasMade)
		if made && !same {
			k.unseal(node)
		}
		k.dirty = true
		return err
	}
	if wasMade && !same {
		k.unseal(before)
	}
	return nil
}

// after keeps it after what it was asked for.
func (k *keeping) after(c *command) error {
	switch {
	case c.keeps:
		return nil
	case c.idle && !c.over && !c.rests: // it is what it was, and goes on or not
		return k.i.k.note(true, k.i)
	case c.later:
		if !k.dirty {
			k.sealed, k.dirty = time.Now(), true
		}
		return nil
	}
	k.dirty = true
	err := k.now()
	k.dirty = k.dirty && k.i.spec.Durable
	return err
}

// changes notes, before it does what it is asked for, that it will be another than what it
// came back as: unless it is durable it is kept again when the service ends in order. What it
// came back as is there until settled is told whether it is the same after all.
func (k *keeping) changes(c *command) (settled func(same bool), err error) {
	if c.still || c.idle && !c.over || k.i.k.records == nil || k.i.spec.Durable || k.node == "" {
		return func(bool) {}, nil
	}
	before, wasMade := k.node, k.made
	k.hold(before, 1)
	k.as("", false)
	back := func() {
		k.as(before, wasMade)
		k.hold(before, -1)
	}
	if err := k.i.k.note(true, k.i); err != nil {
		back()
		return nil, &Refusal{err}
	}
	return func(same bool) {
		if same {
			back()
			if err := k.i.k.note(true, k.i); err != nil {
				k.i.k.o.Log.Error("an instance does not come back as it was if the service dies", "owner", k.i.owner, "instance", k.i.info.Name, "error", err)
			}
			return
		}
		k.hold(before, -1)
		if wasMade {
			k.unseal(before)
		}
	}, nil
}

// hold counts a node as one that an instance comes back as, or no more.
func (k *keeping) hold(node string, by int) {
	k.i.k.mu.Lock()
	defer k.i.k.mu.Unlock()
	if k.i.k.kept[node] += by; k.i.k.kept[node] == 0 {
		delete(k.i.k.kept, node)
	}
}

// stay is its end with that of the service.
func (k *keeping) stay() {
	if !k.i.spec.Durable && madeUp.MatchString(k.i.info.Name) || k.i.spec.Durable && !k.dirty {
		return
	}
	k.i.k.sealing <- struct{}{} // each takes memory while it is at it
	defer func() { <-k.i.k.sealing }()
	if err := k.now(); err != nil {
		k.i.k.o.Log.Error("an instance does not come back as it was", "owner", k.i.owner, "instance", k.i.info.Name, "error", err)
	}
}

// forget is its end before that of the service.
func (k *keeping) forget() bool {
	if k.i.k.records == nil {
		return false
	}
	if err := k.i.k.records.Write(k.i.spec.Durable, records.Change{Key: k.i.key}); err != nil { // as what it was kept as
		k.i.k.o.Log.Error("an instance that was removed may come back", "owner", k.i.owner, "instance", k.i.info.Name, "error", err)
		return false
	}
	return true
}

// release lets go of what it was kept as, once it is no more.
func (k *keeping) release() {
	if before, made := k.as("", false); made {
		k.unseal(before)
	}
	for _, node := range slices.Backward(k.line) {
		k.unseal(node)
	}
}
