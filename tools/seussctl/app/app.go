package app

import (
	"context"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher/api"
)

// Run carries out one command line, args[0] being the program's name, and
// returns the exit code. SIGINT and SIGTERM cancel what is under way.
func Run(stdin io.Reader, stdout, stderr io.Writer, args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	return run(ctx, newEnv(stdin, stdout, stderr), args)
}

// run is Run with an environment that a test may have changed.
func run(ctx context.Context, e *env, args []string) int {
	root := e.root()
	if len(args) > 1 && args[1] == completeWord {
		e.printCompletions(root, args[2:])
		return api.ExitOK
	}
	e.dashed = slices.Contains(args, "--")
	err := root.RunContext(ctx, arrange(root, args))
	e.progress.clear()
	return report(e.stdout, e.stderr, err)
}

// root assembles the commands.
func (e *env) root() *cli.App {
	app := &cli.App{
		Name:      "seussctl",
		HelpName:  "seussctl",
		Usage:     "snapshot lineages of functions in KVM unikernels",
		Reader:    e.stdin,
		Writer:    e.stdout,
		ErrWriter: e.stderr,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "state", Usage: "`DIR` with images, snapshots and functions (default: $" + stateVariable + ", else " + defaultStateText + ")"},
			&cli.StringFlag{Name: "platform", Usage: "`NAME` of what runs guests: kvm, process (no KVM needed, weaker isolation) or auto: kvm where there is one (default: $" + platformVariable + ", else auto)"},
			&cli.StringFlag{Name: "huge-pages", Usage: "`WHEN` the host's huge pages are used, if it has any: auto, where it pays, or never (default: $" + hugePagesVariable + ", else auto)"},
			&cli.BoolFlag{DisableDefaultText: true, Name: "json", Usage: "print the result as one JSON document"},
			&cli.BoolFlag{DisableDefaultText: true, Name: "verbose", Usage: "say on stderr what is being done"},
		},
		CustomAppHelpTemplate: rootHelp,
		HideHelpCommand:       true,
		// JSON has commas.
		DisableSliceFlagSeparator: true,
		HideVersion:               true,
		OnUsageError:              usageFromLibrary,
		// Errors are reported by run, never by exiting from inside the library.
		ExitErrHandler: func(*cli.Context, error) {},
		Before:         e.readGlobals,
		Commands: []*cli.Command{
			e.doctor(),
			e.group("image", "root images for guests", e.imageBuild(), e.imageLs(), e.imageRm()),
			e.runCommand(),
			e.group("function", "deployed functions", e.functionDeploy(), e.functionLs(), e.functionRm()),
			e.invoke(),
			e.serve(),
			e.snapshotGroup(),
			e.group("bench", "measurements", e.benchStart(), e.benchMemory(), e.benchStore(), e.benchCold(), e.benchWarmUp(), e.benchGuest(), e.benchHuge()),
			e.demo(),
			e.completion(),
			versionCommand(e),
		},
	}
	app.Action = func(ctx *cli.Context) error {
		if !ctx.Args().Present() {
			return cli.ShowAppHelp(ctx)
		}
		return unknownCommand(ctx, app.Name, slices.Clone(app.Commands))
	}
	return app
}
