package app

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"seuss/tools/seussctl/cmdline"
)

// manualSection is that of programs that users run (man-pages(7)).
const manualSection = 1

func manual(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:     "manual",
		Usage:    "print the manual page",
		Examples: []string{"seussctl manual | man -l -"},
		Action: func(c *cli.Context, e *cmdline.Env) error {
			page, err := c.App.ToManWithSection(manualSection)
			if err != nil {
				return fmt.Errorf("manual page: %w", err)
			}
			_, err = fmt.Fprint(e.Stdout, page)
			return err
		},
	})
}
