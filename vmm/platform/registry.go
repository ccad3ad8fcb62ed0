package platform

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
)

// Kind is a kind of platform, as its folder registers it.
type Kind struct {
	// Name is what a user asks for, and Title names it in sentences.
	Name, Title string
	// Summary says in one line what guests are on it.
	Summary string
	// Instead says what it means for the user that this one was taken because a better
	// one cannot be used.
	Instead string
	// Rank orders the kinds for a user who asks for none: the lowest that can be used is
	// taken. 0: it is never taken unless it is asked for.
	Rank int
	// Requirements are what it needs of the host, in the order in which to mend them.
	Requirements []Requirement
	// Exceptions are the system calls that only this kind makes.
	Exceptions []Exception
	// Open opens it. What the host lacks is an Unmet.
	Open func(Options) (Platform, error)
}

// Requirement is something that a platform needs of the host.
type Requirement struct {
	Name string
	// Check returns nil where the host has it, else what is missing.
	Check func(Host) error
	// Fix says in a sentence how to get it.
	Fix string
	// Without says what is worse where it is missing; empty: nothing runs then.
	Without string
}

// Host is where requirements look. The zero value of a field means the real place.
type Host struct {
	Dev  string // "/dev" if empty
	Proc string // "/proc" if empty
}

// Device returns the path of a device.
func (h Host) Device(name string) string { return filepath.Join(cmp.Or(h.Dev, "/dev"), name) }

// ProcFile returns the path of a file below /proc.
func (h Host) ProcFile(name string) string { return filepath.Join(cmp.Or(h.Proc, "/proc"), name) }

// Options are those that every platform understands. The zero value is right for
// production.
type Options struct {
	Host Host
	// NoHugePages makes guests' memory of the host's ordinary pages only.
	NoHugePages bool
	// Guest, which may be nil, is told of each process that a guest runs in when it has
	// started, before it has anything of the guest's, with the bytes of its memory. What
	// it returns is called when the process has ended. Guests that are no processes of
	// their own have none.
	Guest func(pid int, bytes uint64) (ended func(), err error)
}

// Check returns the first requirement that the host does not meet, an Unmet, of those
// without which nothing runs.
func (k *Kind) Check(h Host) error {
	for _, r := range k.Requirements {
		if r.Without != "" {
			continue
		}
		if err := r.Check(h); err != nil {
			return k.Lacks(err, r.Fix)
		}
	}
	return nil
}

// Lacks says that the host does not meet what this kind requires.
func (k *Kind) Lacks(what error, fix string) error {
	return &Unmet{Title: k.Title, Err: what, Fix: fix}
}

var kinds []*Kind

// Register adds a kind. A folder calls it from its init; what contradicts another folder
// panics.
func Register(k *Kind) {
	if k.Name == "" || k.Title == "" || k.Summary == "" || k.Open == nil || k.Rank != 0 && k.Instead == "" {
		panic(fmt.Sprintf("platform %q is incomplete", k.Name))
	}
	for _, r := range k.Requirements {
		if r.Name == "" || r.Check == nil || r.Fix == "" {
			panic(fmt.Sprintf("platform %s: requirement %q is incomplete", k.Name, r.Name))
		}
	}
	for _, o := range kinds {
		if o.Name == k.Name || k.Rank != 0 && o.Rank == k.Rank {
			panic(fmt.Sprintf("platforms %s and %s: same name or rank", o.Name, k.Name))
		}
	}
	kinds = append(kinds, k)
	slices.SortFunc(kinds, func(a, b *Kind) int {
		return cmp.Or(cmp.Compare(a.Rank, b.Rank), cmp.Compare(a.Name, b.Name))
	})
}

// Kinds returns the kinds that a user can choose from, the best first.
func Kinds() []*Kind {
	return slices.DeleteFunc(slices.Clone(kinds), func(k *Kind) bool { return k.Rank == 0 })
}

// Find returns the kind of a name, nil if there is none.
func Find(name string) *Kind {
	for _, k := range kinds {
		if k.Name == name {
			return k
		}
	}
	return nil
}

// OpenBest opens the first of Kinds that can be used here. passed says why those before
// it cannot. What keeps a platform from being opened though the host has all that it
// requires is an error.
func OpenBest(o Options) (p Platform, k *Kind, passed []*Unmet, err error) {
	for _, k := range Kinds() {
		p, err := k.Open(o)
		if err == nil {
			return p, k, passed, nil
		}
		var unmet *Unmet
		if !errors.As(err, &unmet) {
			return nil, nil, passed, err
		}
		passed = append(passed, unmet)
	}
	if len(passed) == 0 {
		return nil, nil, nil, fmt.Errorf("%w: none is built in", ErrUnavailable)
	}
	err = passed[0]
	for _, u := range passed[1:] {
		err = fmt.Errorf("%w; and %w", err, u)
	}
	return nil, nil, passed, err
}
