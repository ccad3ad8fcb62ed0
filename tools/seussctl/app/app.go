package app

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher/api"
	"seuss/tools/seussctl/benchcmd"
	"seuss/tools/seussctl/clustercmd"
	"seuss/tools/seussctl/cmdline"
	"seuss/tools/seussctl/confine"
	"seuss/tools/seussctl/functioncmd"
	"seuss/tools/seussctl/imagecmd"
	"seuss/tools/seussctl/instancecmd"
	"seuss/tools/seussctl/plancmd"
	"seuss/tools/seussctl/pscmd"
	"seuss/tools/seussctl/snapshotcmd"
	"seuss/tools/seussctl/statecmd"
)

// Run carries out one command line, args[0] being the program's name, and
// returns the exit code. SIGINT and SIGTERM cancel what is under way.
func Run(stdin io.Reader, stdout, stderr io.Writer, args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	return run(ctx, cmdline.NewEnv(stdin, stdout, stderr), args)
}

// run is Run with an environment that a test may have changed.
func run(ctx context.Context, e *cmdline.Env, args []string) int {
	root := root(e)
	if len(args) > 1 && args[1] == completeWord {
		printCompletions(e, root, args[2:])
		return api.ExitOK
	}
	e.Dashed = slices.Contains(args, "--")
	words, asJSON := arrange(root, args)
	err := root.RunContext(ctx, words)
	e.Progress.Clear()
	if e.StateDir != "" {
		err = errors.Join(err, confine.GiveBack(e.StateDir, e.Started))
	}
	if asJSON { // said before the command line is known to be right
		return cmdline.ReportJSON(e.Stdout, e.Stderr, err)
	}
	return cmdline.Report(e.Stdout, e.Stderr, err)
}

// root assembles the commands.
func root(e *cmdline.Env) *cli.App {
	app := &cli.App{
		Name:      "seussctl",
		HelpName:  "seussctl",
		Usage:     "snapshot lineages of functions in KVM unikernels",
		Reader:    e.Stdin,
		Writer:    e.Stdout,
		ErrWriter: e.Stderr,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "state", Usage: "`DIR` with images, snapshots and functions (default: $" + cmdline.StateVariable + ", else " + cmdline.DefaultStateText + ")"},
			&cli.StringFlag{Name: "platform", Usage: "`NAME` of what runs guests: kvm, process (no KVM needed, weaker isolation) or auto: kvm where there is one (default: $" + cmdline.PlatformVariable + ", else auto)"},
			&cli.StringFlag{Name: "huge-pages", Usage: "`WHEN` the host's huge pages are used, if it has any: auto, where it pays, or never (default: $" + cmdline.HugePagesVariable + ", else auto)"},
			&cli.BoolFlag{DisableDefaultText: true, Name: "json", Usage: "print the result as one JSON document"},
			&cli.BoolFlag{DisableDefaultText: true, Name: "verbose", Usage: "say on stderr what is being done"},
		},
		CustomAppHelpTemplate: cmdline.RootHelp,
		HideHelpCommand:       true,
		// JSON has commas.
		DisableSliceFlagSeparator: true,
		HideVersion:               true,
		OnUsageError:              cmdline.UsageFromLibrary,
		// Errors are reported by run, never by exiting from inside the library.
		ExitErrHandler: func(*cli.Context, error) {},
		Before:         e.ReadGlobals,
		Commands: []*cli.Command{
			doctorCommand(e),
			imagecmd.ImageGroup(e),
			runCommand(e),
			functioncmd.FunctionGroup(e),
			e.Group("token", "tokens of the daemon's clients", tokenCreate(e), tokenLs(e), tokenRm(e)),
			e.Group("owner", "quotas of owners", ownerSet(e), ownerLs(e)),
			invoke(e),
			instancecmd.InstanceGroup(e),
			clustercmd.ClusterGroup(e),
			statecmd.StateGroup(e),
			pscmd.Ps(e),
			pscmd.Kill(e),
			pscmd.Stats(e),
			serve(e),
			env(e),
			snapshotcmd.SnapshotGroup(e),
			plancmd.PlanGroup(e),
			e.Group("bench", "measurements", benchcmd.BenchStart(e), benchcmd.BenchMemory(e), benchcmd.BenchStore(e), benchcmd.BenchCold(e), benchcmd.BenchWarmUp(e), benchcmd.BenchGuest(e), benchcmd.BenchHuge(e), benchcmd.BenchInstances(e), benchcmd.BenchPlan(e), benchcmd.BenchLanguages(e), benchcmd.BenchImages(e), benchcmd.BenchChain(e), benchcmd.BenchState(e)),
			demo(e),
			completion(e),
			manual(e),
			versionCommand(e),
		},
	}
	app.Action = func(ctx *cli.Context) error {
		if !ctx.Args().Present() {
			return cli.ShowAppHelp(ctx)
		}
		return cmdline.UnknownCommand(ctx, app.Name, slices.Clone(app.Commands))
	}
	return app
}
