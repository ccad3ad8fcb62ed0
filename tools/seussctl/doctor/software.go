package doctor

import (
	"context"
	"fmt"
	"os/exec"
	"strings"

	"seuss/images/runtimes"
	_ "seuss/images/runtimes/all"
	"seuss/tools/seussctl/version"
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

// release says which program this is, and which files of other releases it reads.
func release() Check {
	info := version.Get()
	c := Check{Name: "seussctl", Status: OK, Detail: info.Version}
	if info.Revision != "" {
		c.Detail += " (" + info.Revision[:min(len(info.Revision), 12)] + ")"
	}
	for i, f := range info.Formats {
		sign := "; reads "
		if i > 0 {
			sign = ", "
		}
		c.Detail += sign + f.Name + " " + strings.Trim(fmt.Sprint(f.Reads), "[]")
	}
	return c
}
