package doctor

import (
	"fmt"
	"runtime"

	"seuss/dispatcher/capacity"
	"seuss/vmm/platform"
)

// limits are where the checks look for those of the process.
func (h *Host) limits() capacity.Host { return capacity.Host{Proc: h.Proc, Sys: h.Sys} }

// machines says how many fit into a daemon: by mappings, descriptors, threads and processes.
func (h *Host) machines() Check {
	c := Check{Name: "machines", Status: OK}
	needs := platform.Needs{MemoryHere: true} // as where they take the most
	if h.machine != nil {
		needs = *h.machine
	}
	b := capacity.New(h.limits().Limits(), needs)
	if b.Fits() < 0 {
		c.Status, c.Detail, c.Fix = Warning, "how many fit is not known", "mount /proc"
		return c
	}
	c.Detail = fmt.Sprintf("%d fit into a daemon: %s", b.Fits(), b.Describe())
	if err := b.Check(capacity.MachinesPerCPU * runtime.NumCPU()); err != nil {
		c.Status, c.Fix = Warning, oneLine(err)
	}
	return c
}
