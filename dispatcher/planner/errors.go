package planner

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"seuss/lineage"
)

// ErrNoRoom: there is no room now, for a machine beside those that serve, or for a snapshot in
// an owner's quota. Whoever works for a plan waits for some.
var ErrNoRoom = errors.New("no room for what a plan wants beside what there is")

var (
	errNoPlan     = fmt.Errorf("no plan is applied: %w", lineage.ErrNotFound)
	errNotPlanned = fmt.Errorf("import nodes cannot be planned for this runtime: %w", lineage.ErrInvalid)
)

// isFull reports whether a disk has no room, which may change.
func isFull(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)
}
