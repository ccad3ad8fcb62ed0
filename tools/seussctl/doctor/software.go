package doctor

import (
	"context"
	"os/exec"

	"seuss/images/runtimes"
	_ "seuss/images/runtimes/all"
)

// runtimes asks each runtime what it finds of itself.
func (h *Host) runtimes(ctx context.Context) (checks []Check) {
	for _, r := range runtimes.All() {
		if r.Findings == nil {
			continue
		}
		for _, f := range r.Findings(ctx, h.Root) {
			c := Check{Name: f.Name, Status: OK, Detail: f.Detail, Fix: f.Fix}
			switch {
			case f.Fix != "" && f.Optional:
				c.Status = Warning
			case f.Fix != "":
				c.Status = Failed
			}
			checks = append(checks, c)
		}
	}
	return checks
}

// compiler is needed by one row of the benchmark only.
func compiler() Check {
	c := Check{Name: "C compiler"}
	path, err := exec.LookPath("gcc")
	if err != nil {
		c.Status, c.Detail, c.Fix = Warning, "no gcc; the benchmark leaves out its fork-exec-c row", "apt-get install gcc libc6-dev"
		return c
	}
	c.Status, c.Detail = OK, path
	return c
}
