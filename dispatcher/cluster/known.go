package cluster

import (
	"encoding/json"
	"path/filepath"
	"slices"

	"seuss/dispatcher/cluster/bus"
	"seuss/dispatcher/cluster/members"
	"seuss/lineage/sealed"
)

// A member writes down where the others are, and joins them when it comes back: whoever was the
// first is told of nobody by its flags.

const (
	knownName  = "known"
	maxKnown   = 64 // addresses; from any one all are found
	knownBytes = 64 << 10
)

func (c *Cluster) knownPath() string { return filepath.Join(c.o.Dir, knownName) }

// readKnown returns the addresses of members that were here when this one ran last. What cannot
// be read is as if there were none.
func (c *Cluster) readKnown() (list []string) {
	b, err := sealed.ReadFile(c.knownPath(), knownBytes)
	if err != nil || json.Unmarshal(b, &list) != nil {
		return nil
	}
	return slices.DeleteFunc(list, func(address string) bool {
		_, _, err := bus.Split(address)
		return err != nil || address == c.o.Reached
	})
}

// writeKnown writes them down where they have changed. Those that are gone stay too, as long as
// they are shown: one that has just come back is found by who is killed before it was heard.
func (c *Cluster) writeKnown() {
	var list, gone []string
	for _, m := range c.table.List() {
		switch {
		case m.Self || m.Address == c.o.Reached:
		case m.State == members.Here:
			list = append(list, m.Address)
		default:
			gone = append(gone, m.Address)
		}
	}
	slices.Sort(list)
	slices.Sort(gone)
	list = append(list, gone...)
	list = list[:min(len(list), maxKnown)]
	if len(list) == 0 || slices.Equal(list, c.known) {
		return
	}
	b, err := json.Marshal(list)
	if err == nil {
		files := sealed.OS()
		err = files.WriteFile(c.knownPath(), b)
	}
	if err != nil {
		c.complain(err)
		return
	}
	c.known = list
}
