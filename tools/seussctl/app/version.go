package app

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"seuss/tools/seussctl/cmdline"
	"seuss/tools/seussctl/version"
)

func versionCommand(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:  "version",
		Usage: "say which seuss this is, and which formats it reads",
		Description: `
Prints version and git revision, and the versions of images, snapshots and
guests' contracts that this program reads. Others are refused by name.`,
		Examples: []string{"seussctl version", "seussctl version --json"},
		Action: func(_ *cli.Context, e *cmdline.Env) error {
			info := version.Get()
			if e.JSON {
				return e.PrintJSON(info)
			}
			revision := "revision unknown"
			if info.Revision != "" {
				revision = "revision " + info.Revision[:min(12, len(info.Revision))]
			}
			if info.Modified {
				revision += " with changes"
			}
			if _, err := fmt.Fprintf(e.Stdout, "seussctl %s, %s, %s %s\n", info.Version, revision, info.Go, info.Platform); err != nil {
				return err
			}
			t := cmdline.NewTable("FORMAT", "VERSIONS")
			for _, f := range info.Formats {
				t.Row(f.Name, strings.Trim(strings.ReplaceAll(fmt.Sprint(f.Reads), " ", ", "), "[]"))
			}
			return t.Print(e.Stdout)
		},
	})
}
