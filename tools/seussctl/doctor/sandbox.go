package doctor

import (
	"context"
	"os"

	"seuss/tools/seussctl/confine"
)

// sandbox says what confines the daemon that runs, or would confine one.
func (h *Host) sandbox(ctx context.Context) []Check {
	prefix, measures := "sandbox: ", confine.Offers(os.Geteuid() == 0)
	if h.Daemon != nil {
		var err error
		prefix = "daemon's sandbox: "
		if measures, err = h.Daemon(ctx); err != nil {
			return []Check{{Name: "daemon's sandbox", Status: Warning, Detail: err.Error(), Fix: "look at the daemon's log"}}
		}
	}
	var checks []Check
	for _, m := range measures {
		c := Check{Name: prefix + m.Name, Status: OK, Detail: m.Detail}
		if !m.InForce {
			c.Status, c.Fix = Warning, m.Fix
		}
		checks = append(checks, c)
	}
	return checks
}
