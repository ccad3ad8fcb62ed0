package functioncmd

import (
	"github.com/urfave/cli/v2"

	"seuss/tools/seussctl/cmdline"
)

// FunctionGroup assembles what can be done with functions.
func FunctionGroup(e *cmdline.Env) *cli.Command {
	return e.Group("function", "deployed functions",
		functionInit(e), functionDeploy(e), functionUpdate(e), functionLs(e), functionShow(e), functionURL(e), functionRm(e), functionLogs(e), functionEvents(e))
}
