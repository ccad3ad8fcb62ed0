// Package doctor looks at a host and says whether functions can run on it:
// what is there, what is missing, and how to get it. It changes nothing, except that
// lineage.Open closes a state directory that other users can look into.
//
// Units: sizes are bytes. Ownership: a Check belongs to the caller; nothing
// stays open after Run. Locks: none.
package doctor

import (
	"context"
	"os"

	"seuss/dispatcher/api"
	"seuss/dispatcher/cluster"
	"seuss/vmm/platform"
)

// Status says how a check came out.
type Status string

// Failed means that functions cannot run; Warning that something works less
// well, or one feature not at all.
const (
	OK      Status = "ok"
	Warning Status = "warning"
	Failed  Status = "failed"
)

// Check is one finding.
type Check struct {
	Name   string `json:"name"`
	Status Status `json:"status"`
	Detail string `json:"detail"`        // what was found
	Fix    string `json:"fix,omitempty"` // what to do about it, unless OK
}

// Host is where the checks look. The zero value of a field means the real
// place; tests give others.
type Host struct {
	StateDir string
	// Platform names the one that has to be usable; empty: any.
	Platform string
	Dev      string // "/dev" if empty
	Root     string // of the file system with the runtimes, "" = the host's own
	Proc     string // "/proc" if empty
	Sys      string // "/sys" if empty
	// Daemon says what confines the daemon that runs on StateDir; nil: none runs.
	Daemon func(context.Context) ([]api.Measure, error)
	// Cluster says what the daemon is a member of; nil: none runs.
	Cluster func(context.Context) (cluster.View, error)

	machine *platform.Needs // of the platform that is used; nil: of none
}

func (h *Host) defaults() {
	for _, f := range []struct {
		to    *string
		value string
	}{{&h.Dev, "/dev"}, {&h.Proc, "/proc"}, {&h.Sys, "/sys"}} {
		if *f.to == "" {
			*f.to = f.value
		}
	}
}

// Run makes all checks, in the order in which a user should mend things.
func Run(ctx context.Context, h Host) []Check {
	h.defaults()
	checks := append([]Check{release()}, h.platforms()...)
	checks = append(checks,
		h.kernel(),
		pagemap(),
		h.memory(),
		h.machines(),
		h.hugePages(),
	)
	checks = append(checks, h.runtimes(ctx)...)
	checks = append(checks, compiler())
	checks = append(checks, h.state(ctx)...)
	checks = append(checks, h.sandbox(ctx)...)
	return append(checks, h.cluster(ctx)...)
}

// Healthy reports whether nothing that is needed is missing.
func Healthy(checks []Check) bool {
	for _, c := range checks {
		if c.Status == Failed {
			return false
		}
	}
	return true
}

// exists reports whether path can be seen.
func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
