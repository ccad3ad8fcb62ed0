// Package plancmd is seussctl plan: one file a subcommand. What a plan is, and how one is
// fitted, is in package dispatcher/plan; here are files, flags and tables.
//
// Ownership and locks: as in package cmdline.
package plancmd

import (
	"github.com/urfave/cli/v2"

	"seuss/tools/seussctl/cmdline"
)

// PlanGroup returns seussctl plan.
func PlanGroup(e *cmdline.Env) *cli.Command {
	return e.Group("plan", "which import nodes are worth having", planHistory(e), planFit(e), planEvaluate(e), planShow(e), planDiff(e))
}
