package app

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"seuss/tools/seussctl/doctor"
)

func (e *env) doctor() *cli.Command {
	return e.command(spec{
		name:  "doctor",
		usage: "check whether functions can run on this machine",
		description: `
Looks at KVM, the kernel, memory, Python and the state directory, changes
nothing, and says how to get what is missing. The exit code is 1 if something
that is needed is missing.`,
		examples: []string{"seussctl doctor", "seussctl doctor --json"},
		action: func(c *cli.Context, e *env) error {
			return e.printChecks(doctor.Run(c.Context, doctor.Host{StateDir: e.stateDir}))
		},
	})
}

func (e *env) printChecks(checks []doctor.Check) error {
	healthy := doctor.Healthy(checks)
	if e.json {
		if err := e.printJSON(struct {
			Healthy bool           `json:"healthy"`
			Checks  []doctor.Check `json:"checks"`
		}{healthy, checks}); err != nil {
			return err
		}
	} else {
		t := newTable("CHECK", "STATUS", "DETAIL")
		for _, c := range checks {
			t.row(c.Name, string(c.Status), c.Detail)
		}
		if err := t.print(e.stdout); err != nil {
			return err
		}
		for _, c := range checks {
			if c.Fix == "" {
				continue
			}
			if _, err := fmt.Fprintf(e.stdout, "%s: %s\n", c.Name, c.Fix); err != nil {
				return err
			}
		}
	}
	if !healthy {
		return errReported
	}
	return nil
}
