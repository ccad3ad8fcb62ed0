package state

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Right is what a function may do with a share.
type Right uint8

// The rights; each includes the one before it.
const (
	None  Right = iota
	Read        // get, list, watch, pull and shared locks
	Write       // everything
)

// Words of the rights in a deployment.
const (
	readWord  = "r"
	writeWord = "rw"
)

// MaxShares bounds the shares of one deployment.
const MaxShares = 64

// Rights are those to the shares of an owner, by name.
type Rights map[string]Right

// ParseRights reads what a deployment names: NAME:r or NAME:rw each, no name twice.
func ParseRights(entries []string) (Rights, error) {
	if len(entries) > MaxShares {
		return nil, fmt.Errorf("%d shares, at most %d are allowed: %w", len(entries), MaxShares, ErrRange)
	}
	rights := Rights{}
	for _, entry := range entries {
		name, word, _ := strings.Cut(entry, ":")
		right, ok := map[string]Right{readWord: Read, writeWord: Write}[word]
		switch {
		case !ok:
			return nil, fmt.Errorf("share %.80q: want NAME:%s or NAME:%s: %w", entry, readWord, writeWord, ErrKey)
		case !ValidShare(name):
			return nil, fmt.Errorf("share %.80q: its name is 1 to 64 of A-Z a-z 0-9 _ -: %w", entry, ErrKey)
		case rights[name] != None:
			return nil, fmt.Errorf("share %q is named twice: %w", name, ErrKey)
		}
		rights[name] = right
	}
	return rights, nil
}

// allows refuses what a deployment does not name.
func (r Rights) allows(function, share string, need Right) error {
	switch has := r[share]; {
	case has >= need:
		return nil
	case has == None && len(r) == 0:
		return fmt.Errorf("function %q has no shares: %w: deploy it with --share %s:%s", function, ErrForbidden, share, need)
	case has == None:
		return fmt.Errorf("function %q has the shares %s, and not %q: %w: deploy it with --share %s:%s", function, strings.Join(slices.Sorted(maps.Keys(r)), ", "), share, ErrForbidden, share, need)
	}
	return fmt.Errorf("function %q may only read %q: %w: deploy it with --share %s:%s", function, share, ErrForbidden, share, writeWord)
}

func (r Right) String() string {
	if r == Write {
		return writeWord
	}
	return readWord
}
