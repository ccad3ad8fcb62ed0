package app

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"seuss/tools/seussctl/cmdline"
	"seuss/tools/seussctl/doctor"
)

func doctorCommand(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:  "doctor",
		Usage: "check whether functions can run on this machine",
		Description: `
Looks at KVM, or what --platform names, the kernel, memory, Python, the state directory and what confines
the daemon, and says how to get what is missing. It changes nothing, except that, as every
command that opens the state directory, it closes it to other users, and says if they could
look into it. The exit code is 1 if something that is needed is missing.`,
		Examples: []string{"seussctl doctor", "seussctl doctor --json"},
		Action: func(c *cli.Context, e *cmdline.Env) error {
			h := doctor.Host{StateDir: e.StateDir, Platform: cmdline.WantedPlatform(e)}
			if d := e.Daemon(); d != nil {
				defer d.Close()
				h.Daemon, h.Cluster = d.Sandbox, d.Cluster.Members
			}
			return printChecks(e, doctor.Run(c.Context, h))
		},
	})
}

func printChecks(e *cmdline.Env, checks []doctor.Check) error {
	healthy := doctor.Healthy(checks)
	if e.JSON {
		if err := e.PrintJSON(struct {
			Healthy bool           `json:"healthy"`
			Checks  []doctor.Check `json:"checks"`
		}{healthy, checks}); err != nil {
			return err
		}
	} else {
		t := cmdline.NewTable("CHECK", "STATUS", "DETAIL")
		for _, c := range checks {
			t.Row(c.Name, string(c.Status), c.Detail)
		}
		if err := t.Print(e.Stdout); err != nil {
			return err
		}
		for _, c := range checks {
			if c.Fix == "" {
				continue
			}
			if _, err := fmt.Fprintf(e.Stdout, "%s: %s\n", c.Name, c.Fix); err != nil {
				return err
			}
		}
	}
	if !healthy {
		return cmdline.ErrReported
	}
	return nil
}
