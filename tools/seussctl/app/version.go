package app

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"seuss/tools/seussctl/version"
)

func versionCommand(e *env) *cli.Command {
	return e.command(spec{
		name:  "version",
		usage: "say which seuss this is, and which formats it reads",
		description: `
Prints version and git revision, and the versions of images, snapshots and
guests' contracts that this program reads. Others are refused by name.`,
		examples: []string{"seussctl version", "seussctl version --json"},
		action: func(_ *cli.Context, e *env) error {
			info := version.Get()
			if e.json {
				return e.printJSON(info)
			}
			revision := "revision unknown"
			if info.Revision != "" {
				revision = "revision " + info.Revision[:min(12, len(info.Revision))]
			}
			if info.Modified {
				revision += " with changes"
			}
			if _, err := fmt.Fprintf(e.stdout, "seussctl %s, %s, %s %s\n", info.Version, revision, info.Go, info.Platform); err != nil {
				return err
			}
			t := newTable("FORMAT", "VERSIONS")
			for _, f := range info.Formats {
				t.row(f.Name, strings.Trim(strings.ReplaceAll(fmt.Sprint(f.Reads), " ", ", "), "[]"))
			}
			return t.print(e.stdout)
		},
	})
}
