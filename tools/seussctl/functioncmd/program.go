package functioncmd

import (
	"github.com/urfave/cli/v2"

	"seuss/dispatcher"
	"seuss/dispatcher/bundle"
	"seuss/dispatcher/contracts"
	"seuss/dispatcher/functions"
	"seuss/tools/seussctl/cmdline"
)

// maxCommandWords bounds the words of a command line, a program's among them.
const maxCommandWords = 1024

// programFlags are of functions that are programs of their own.
func programFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{DisableDefaultText: true, Name: "program", Usage: "the function is the command behind --, which reads an event and writes an answer"},
		&cli.StringFlag{Name: "code", Usage: "`PATH` of a program's files (a file, a directory or a .zip), put below " + contracts.TaskRoot},
		&cli.BoolFlag{DisableDefaultText: true, Name: "allow-shared-generators", Usage: "take a program's snapshot though generators of random numbers may be seeded in it"},
	}
}

// readCode reads the code of a function, or the program that it is.
func readCode(c *cli.Context, e *cmdline.Env, name string) (spec dispatcher.FunctionSpec, err error) {
	help, args, runtime := c.Command.HelpName, c.Args().Slice(), c.String("runtime")
	program := contracts.OfRuntime(runtime)
	bootstrap := ""
	path := c.String("code")
	switch {
	case c.Bool("watch") && (c.Bool("program") || program != nil && path != ""):
		return spec, cmdline.Usagef(help, "--watch looks at PATH: a --program has none")
	case c.Bool("program"):
		if program != nil || runtime != "" {
			return spec, cmdline.Usagef(help, "--runtime %s: a --program has none", runtime)
		}
		if len(args) < 2 {
			return spec, cmdline.Usagef(help, "--program: which command? It stands behind --")
		}
		program = &functions.Program{Contract: "program", Command: args[1:]}
		bootstrap = args[1]
	case len(args) != 2:
		return spec, cmdline.Usagef(help, "want NAME PATH, or NAME --program -- CMD...")
	case program != nil:
		bootstrap = program.Command[0]
		if path != "" {
			return spec, cmdline.Usagef(help, "--code %s: the code is %s already", path, args[1])
		}
		path = args[1]
	default:
		for _, flag := range []string{"code", "allow-shared-generators"} {
			if c.IsSet(flag) {
				return spec, cmdline.Usagef(help, "--%s is for programs: with --program, or --runtime provided.al2023", flag)
			}
		}
		return e.ReadFunction(c, name, args[1])
	}
	program.SharedGenerators = c.Bool("allow-shared-generators")
	spec = dispatcher.FunctionSpec{Name: name, Handler: c.String("handler"), Image: c.String("image"), Lazy: c.Bool("lazy-args")}
	spec.Settings.Runtime, spec.Settings.Program = runtime, program
	if c.IsSet("import") {
		if spec.Imports, err = cmdline.SplitList(c.String("import")); err != nil {
			return spec, cmdline.Usagef(help, "--import %q: %w", c.String("import"), err)
		}
	}
	if path != "" {
		spec.Files, err = bundle.LoadProgram(path, bootstrap)
	}
	return spec, err
}
