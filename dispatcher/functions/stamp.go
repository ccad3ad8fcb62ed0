package functions

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"seuss/lineage"
)

// Offline stands in stamps for a daemon that changes deployments while it is in no cluster.
const Offline = "-"

const (
	// maxSeen bounds the members in a stamp; of more the ones that changed it longest ago
	// are forgotten.
	maxSeen = 32
	// RemovedFor is how long it is known that a deployment was removed: a member that was
	// away for longer brings back what it still has.
	RemovedFor = 30 * 24 * time.Hour
)

// Stamp says which change of a deployment a record is, where the members of a cluster have
// the same deployments. The later of two changes holds on every member, in whichever order
// they hear of them. The zero Stamp is of a deployment that no cluster has.
type Stamp struct {
	Count uint64 `json:"n"`  // from 1; above that of each change that its maker knew
	By    string `json:"by"` // the member that made it
	// Seen is the count of the last change by each member that this one comes after, itself
	// included.
	Seen map[string]uint64 `json:"seen,omitempty"`
}

// Knows reports whether a change was made knowing of another one, or is that.
func (s *Stamp) Knows(o *Stamp) bool { return o.Count == 0 || s.Seen[o.By] >= o.Count }

// next is the stamp of a member's change after s.
func (s *Stamp) next(member string) Stamp {
	n := Stamp{Count: s.Count + 1, By: member, Seen: maps.Clone(s.Seen)}
	if n.Seen == nil {
		n.Seen = map[string]uint64{}
	}
	n.Seen[member] = n.Count
	for len(n.Seen) > maxSeen {
		delete(n.Seen, slices.MinFunc(slices.Collect(maps.Keys(n.Seen)), func(a, b string) int { return cmp.Compare(n.Seen[a], n.Seen[b]) }))
	}
	return n
}

func (s *Stamp) validate() error {
	if s.Count == 0 {
		if s.By != "" || len(s.Seen) > 0 {
			return fmt.Errorf("a stamp of no change has the member %.80q", s.By)
		}
		return nil
	}
	if !ValidName(s.By) && s.By != Offline || len(s.Seen) > maxSeen || s.Seen[s.By] != s.Count {
		return fmt.Errorf("stamp %d of %.80q, which has seen %d members, is none", s.Count, s.By, len(s.Seen))
	}
	return nil
}

// Mark is what tells two states of a deployment apart, and which is the later one.
type Mark struct {
	Count  uint64 `json:"n"`
	By     string `json:"by"`
	Digest uint64 `json:"digest,string"` // of what was deployed; decides where members that are in no cluster count alike
}

// After reports whether a state is later than another one.
func (m Mark) After(o Mark) bool {
	return cmp.Or(cmp.Compare(m.Count, o.Count), cmp.Compare(m.By, o.By), cmp.Compare(m.Digest, o.Digest)) > 0
}

// Change is a state of one deployment: what is deployed, or that it was removed.
type Change struct {
	Key     string    `json:"key"`
	Stamp   Stamp     `json:"stamp"`
	Removed time.Time `json:"removed,omitzero"` // zero: Record has it
	Record  *Function `json:"record,omitempty"` // its stamp is left out
}

// Mark returns the state's mark.
func (c *Change) Mark() Mark {
	m := Mark{Count: c.Stamp.Count, By: c.Stamp.By}
	if c.Record != nil {
		r := *c.Record
		r.Stamp = Stamp{}
		b, _ := json.Marshal(&r) // it was read, or is checked before it is kept
		sum := sha256.Sum256(b)
		for _, x := range sum[:8] {
			m.Digest = m.Digest<<8 | uint64(x)
		}
	}
	return m
}

// Same reports whether two states are of the same content, whoever made them: what is
// deployed and what it asks for, whenever that was.
func (c *Change) Same(o *Change) bool {
	if c.Record == nil || o.Record == nil {
		return c.Record == o.Record
	}
	var text [2]string
	for i, f := range []Function{*c.Record, *o.Record} {
		f.Stamp, f.ID, f.Deployed, f.Settings.Revision, f.LastVersion = Stamp{}, "", time.Time{}, "", 0
		b, err := json.Marshal(&f)
		if err != nil {
			return false
		}
		text[i] = string(b)
	}
	return text[0] == text[1]
}

// Check refuses what can be no state of a deployment. The error matches lineage.ErrInvalid.
func (c *Change) Check() error {
	err := c.Stamp.validate()
	switch {
	case err != nil:
	case !ValidDeploymentName(c.Key):
		err = fmt.Errorf("%.100q is no deployment", c.Key)
	case c.Stamp.Count == 0:
		err = fmt.Errorf("the change of %q has no stamp", c.Key)
	case (c.Record == nil) == c.Removed.IsZero():
		err = fmt.Errorf("the change of %q is none: neither deployed nor removed, or both", c.Key)
	case c.Record != nil && c.Record.Name != c.Key:
		err = fmt.Errorf("the change of %q has the record of %.100q", c.Key, c.Record.Name)
	case c.Record != nil:
		err = c.Record.validate()
	}
	if err != nil {
		return fmt.Errorf("%w: %w", err, lineage.ErrInvalid)
	}
	return nil
}
