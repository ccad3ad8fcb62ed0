package access

import (
	"crypto/sha256"
	"slices"
	"strings"

	"seuss/dispatcher/functions"
)

// Right is something that a token may do. Rights may be joined.
type Right uint8

// The rights. Admin has all of them, on everything and everybody's.
const (
	Invoke Right = 1 << iota // run functions
	Read                     // see functions, their code, their snapshots
	Deploy                   // deploy, change and remove functions; run code that is not deployed
	Admin                    // what belongs to all: images, snapshots, pools, other owners
	None   Right = 0         // what whoever has a token may do
	all          = Invoke | Read | Deploy | Admin
)

// rightNames are as they stand in the file.
var rightNames = []struct {
	right Right
	name  string
}{{Invoke, "invoke"}, {Read, "read"}, {Deploy, "deploy"}, {Admin, "admin"}}

// RightNames lists the names of the rights.
func RightNames() (names []string) {
	for _, r := range rightNames {
		names = append(names, r.name)
	}
	return names
}

func (r Right) String() string {
	var names []string
	for _, n := range rightNames {
		if r&n.right != 0 {
			names = append(names, n.name)
		}
	}
	if names == nil {
		return "none"
	}
	return strings.Join(names, ", ")
}

// Principal is who asks.
type Principal struct {
	Name  string // of the token
	Owner string
	// Account is the owner's, in ARNs.
	Account  string
	rights   Right
	patterns []pattern // nil: all of the owner's functions
	digest   [sha256.Size]byte
}

// pattern names functions: an owner, "*" for all, and a name in which * stands for any
// characters.
type pattern struct{ owner, name string }

// Local is who has the state directory: a peer on the Unix socket, or the holder of the
// service's own token. He may do everything.
var Local = &Principal{Name: "local", Owner: functions.DefaultOwner, Account: DefaultAccount, rights: all}

// Has reports whether the principal has a right on some functions at least.
func (p *Principal) Has(right Right) bool { return p.rights&Admin != 0 || p.rights&right == right }

// Reaches reports whether a function, or a deployment of it, is among those that the
// principal's rights are about.
func (p *Principal) Reaches(key string) bool {
	if p.rights&Admin != 0 {
		return true
	}
	owner := functions.OwnerOf(key)
	if p.patterns == nil {
		return owner == p.Owner
	}
	name := functions.BaseName(functions.NameOf(key))
	for _, f := range p.patterns {
		if (f.owner == "*" || f.owner == owner) && matches(f.name, name) {
			return true
		}
	}
	return false
}

// May reports whether the principal has a right on a function.
func (p *Principal) May(right Right, key string) bool { return p.Has(right) && p.Reaches(key) }

// Owners returns those of whose functions the principal may reach some; all: of everybody's.
func (p *Principal) Owners() (owners []string, all bool) {
	if p.rights&Admin != 0 {
		return nil, true
	}
	if p.patterns == nil {
		return []string{p.Owner}, false
	}
	for _, f := range p.patterns {
		if f.owner == "*" {
			return nil, true
		}
		if !slices.Contains(owners, f.owner) {
			owners = append(owners, f.owner)
		}
	}
	return owners, false
}

// Everywhere reports whether the principal's rights are about all functions of all
// owners.
func (p *Principal) Everywhere() bool {
	if p.rights&Admin != 0 {
		return true
	}
	for _, f := range p.patterns {
		if f.owner == "*" && f.name == "*" {
			return true
		}
	}
	return false
}

// Whole reports whether the principal's rights are about all functions of its owner.
func (p *Principal) Whole() bool {
	if p.rights&Admin != 0 || p.patterns == nil {
		return true
	}
	for _, f := range p.patterns {
		if (f.owner == "*" || f.owner == p.Owner) && f.name == "*" {
			return true
		}
	}
	return false
}

// matches reports whether a name is of a pattern's form.
func matches(pattern, name string) bool {
	before, after, wild := strings.Cut(pattern, "*")
	if !wild {
		return name == pattern
	}
	if !strings.HasPrefix(name, before) {
		return false
	}
	name = name[len(before):]
	for {
		part, rest, more := strings.Cut(after, "*")
		if !more {
			return strings.HasSuffix(name, part)
		}
		at := strings.Index(name, part)
		if at < 0 {
			return false
		}
		name, after = name[at+len(part):], rest
	}
}
