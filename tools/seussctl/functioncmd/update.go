package functioncmd

import (
	"github.com/urfave/cli/v2"

	"seuss/dispatcher"
	"seuss/tools/seussctl/cmdline"
)

func functionUpdate(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:      "update",
		ArgsUsage: "NAME",
		Usage:     "change how far a function may go",
		Description: `
Changes what the function may reach and use; what is not named stays. Its code and
its snapshots stay too, and so do published versions. What the daemon itself does
not allow is refused by name.`,
		Examples: []string{
			"seussctl function update fetch --allow-net api.example.com:443",
			"seussctl function update fetch --allow-net none --limit-time 5s",
			"seussctl function update fetch --allow-net any --limit-memory any",
		},
		Flags:   cmdline.BoundsFlags(),
		MinArgs: 1, MaxArgs: 1,
		Complete: cmdline.FunctionNames,
		Action: func(c *cli.Context, e *cmdline.Env) error {
			ask, changed, err := cmdline.ReadBounds(c)
			if err != nil {
				return err
			}
			if !changed {
				return cmdline.Usagef(c.Command.HelpName, "%s: nothing to change", c.Command.HelpName)
			}
			return e.WithEngine(dispatcher.Options{}, func(d cmdline.Service) error {
				f, err := d.Update(c.Context, cmdline.FunctionKey(c.Args().First()), ask)
				if err != nil {
					return err
				}
				e.Progress.Clear()
				return showFunction(c, e, f)
			})
		},
	})
}
