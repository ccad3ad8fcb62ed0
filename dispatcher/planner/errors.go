package planner

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"seuss/lineage"
)

// ErrNoRoom: there is no room for a machine beside those that serve. Whoever works for a
// plan waits for some.
var ErrNoRoom = errors.New("no room for a machine beside those that serve")

var (
	errNoPlan     = fmt.Errorf("no plan is applied: %w", lineage.ErrNotFound)
	errNotPlanned = fmt.Errorf("import nodes cannot be planned for this runtime: %w", lineage.ErrInvalid)
)

// isFull reports whether a disk has no room, which may change.
func isFull(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)
}
