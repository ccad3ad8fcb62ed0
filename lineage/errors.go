package lineage

import (
	"errors"

	"seuss/lineage/nodefile"
	"seuss/lineage/sealed"
)

// What can be wrong with a file: see package nodefile.
var (
	ErrMagic    = nodefile.ErrMagic
	ErrVersion  = nodefile.ErrVersion
	ErrLength   = nodefile.ErrLength
	ErrChecksum = nodefile.ErrChecksum
	ErrFormat   = nodefile.ErrFormat
	ErrIdentity = nodefile.ErrIdentity
)

// What can be wrong with a request to a Store.
var (
	// ErrNotFound: no node or function has this name.
	ErrNotFound = errors.New("not found")
	// ErrAmbiguous: more than one node id begins with the given prefix.
	ErrAmbiguous = errors.New("ambiguous id prefix")
	// ErrInvalid: an argument breaks the rules that its documentation states.
	ErrInvalid = nodefile.ErrInvalid
	// ErrOrphan: the node's parent is missing or damaged.
	ErrOrphan = errors.New("parent is missing or damaged")
	// ErrLocked: another process has the state directory open for writing.
	ErrLocked = sealed.ErrLocked
	// ErrReadOnly: the Store was opened read-only.
	ErrReadOnly = errors.New("store is read-only")
	// ErrHasChildren: the node has dependents and cascade was not asked for.
	ErrHasChildren = errors.New("node has dependents")
	// ErrPinned: the node, or one below it, is pinned or tagged.
	ErrPinned = errors.New("node is kept by a pin or tag")
	// ErrClosed: the Store was closed.
	ErrClosed = errors.New("store is closed")
)
