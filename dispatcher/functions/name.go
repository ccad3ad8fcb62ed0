package functions

import (
	"strconv"
	"strings"
)

// A deployment is called NAME, or OWNER/NAME where its owner is not the default one;
// behind a colon may stand the number of a published version. That is its key wherever
// functions are told apart: in the Store, in nodes, in queues, in logs. So two owners'
// functions of one name have nothing in common, and where there is one owner there is
// nothing to see of all this.

// DefaultOwner owns what is deployed by who has the state directory.
const DefaultOwner = "default"

// maxNameBytes bounds the names of functions and of owners.
const maxNameBytes = 64

// ValidName reports whether name may be a function's or an owner's: 1 to 64 of
// A-Z a-z 0-9 _ -, which also keeps it from leaving its directory.
func ValidName(name string) bool {
	if len(name) == 0 || len(name) > maxNameBytes {
		return false
	}
	for _, c := range []byte(name) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-') {
			return false
		}
	}
	return true
}

// ValidFunction reports whether key may be a function's: a name, or that of an owner
// who is not the default one, a slash and a name.
func ValidFunction(key string) bool {
	owner, name, owned := strings.Cut(key, "/")
	if !owned {
		return ValidName(key)
	}
	return ValidName(owner) && owner != DefaultOwner && ValidName(name)
}

// ValidDeploymentName reports whether key may be a deployment's: a function's, or a
// function's, a colon, and the number of a published version.
func ValidDeploymentName(key string) bool {
	base, version, versioned := strings.Cut(key, ":")
	if !ValidFunction(base) {
		return false
	}
	if !versioned {
		return true
	}
	n, err := strconv.ParseUint(version, 10, 64)
	return err == nil && n > 0 && strconv.FormatUint(n, 10) == version
}

// Key returns the key of an owner's function, or of a deployment of it.
func Key(owner, name string) string {
	if owner == DefaultOwner {
		return name
	}
	return owner + "/" + name
}

// OwnerOf returns the owner of what a key stands for.
func OwnerOf(key string) string {
	if owner, _, owned := strings.Cut(key, "/"); owned {
		return owner
	}
	return DefaultOwner
}

// NameOf returns a key without the owner: what its owner calls it.
func NameOf(key string) string { return key[strings.IndexByte(key, '/')+1:] }

// NameFor returns what somebody calls a deployment whose own functions need no owner
// before them.
func NameFor(owner, key string) string {
	switch of := OwnerOf(key); {
	case of == owner:
		return NameOf(key)
	case of == DefaultOwner:
		return of + "/" + key
	}
	return key
}

// KeyFor is the reverse of NameFor: the key that somebody's name for a deployment
// stands for.
func KeyFor(owner, name string) string {
	if of, rest, owned := strings.Cut(name, "/"); owned {
		return Key(of, rest)
	}
	return Key(owner, name)
}

// BaseName returns the function that a deployment is a version of: its key without the
// version. Nodes are keyed by it, so versions share them.
func BaseName(deployment string) string {
	base, _, _ := strings.Cut(deployment, ":")
	return base
}

// VersionNumber returns the number of the version that a valid deployment key has, 0
// if it has none.
func VersionNumber(deployment string) uint64 {
	_, version, _ := strings.Cut(deployment, ":")
	n, _ := strconv.ParseUint(version, 10, 64)
	return n
}
