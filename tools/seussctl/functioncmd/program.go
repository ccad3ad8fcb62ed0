package functioncmd

import (
	"math"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher"
	"seuss/dispatcher/bundle"
	"seuss/dispatcher/contracts"
	"seuss/dispatcher/functions"
	"seuss/tools/seussctl/cmdline"
)

// programFlags are of functions that are programs of their own.
func programFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{DisableDefaultText: true, Name: "program", Usage: "the function is the command behind --, or that of --image, which reads an event and writes an answer"},
		&cli.UintFlag{Name: "http", Usage: "the function is the command behind --, or that of --image, a server of HTTP on this `PORT`"},
		&cli.StringFlag{Name: "ready", Usage: "`PATH` that a --http server has to answer with 2xx before it is captured (default: it need only wait for connections)"},
		&cli.StringFlag{Name: "code", Usage: "`PATH` of a program's files (a file, a directory or a .zip), put below " + contracts.TaskRoot},
		&cli.BoolFlag{DisableDefaultText: true, Name: "allow-shared-generators", Usage: "take a program's snapshot though generators of random numbers may be seeded in it"},
	}
}

// readCode reads the code of a function, or the program that it is.
func readCode(c *cli.Context, e *cmdline.Env, name string) (spec dispatcher.FunctionSpec, err error) {
	if c.IsSet("from-snapshot") {
		return readCheckpoint(c, name)
	}
	program, path, err := readProgram(c)
	if err != nil {
		return spec, err
	}
	if program == nil {
		return e.ReadFunction(c, name, c.Args().Get(1))
	}
	for _, flag := range []string{"requirements", "find-links", "allow-scripts"} {
		if c.IsSet(flag) {
			return spec, cmdline.Usagef(c.Command.HelpName, "--%s installs packages for handlers of runtimes: bring a program's with its code, or with --layer", flag)
		}
	}
	program.SharedGenerators = c.Bool("allow-shared-generators")
	spec = dispatcher.FunctionSpec{Name: name, Handler: c.String("handler"), Image: c.String("image"), Lazy: c.Bool("lazy-args")}
	spec.Settings.Runtime, spec.Settings.Program = c.String("runtime"), program
	if c.IsSet("import") {
		if spec.Imports, err = cmdline.SplitList(c.String("import")); err != nil {
			return spec, cmdline.Usagef(c.Command.HelpName, "--import %q: %w", c.String("import"), err)
		}
	}
	if path != "" {
		as := filepath.Base(path) // what a single file is called
		if spec.Settings.Runtime != "" && len(program.Command) > 0 {
			as = program.Command[0]
		}
		spec.Files, err = bundle.LoadProgram(path, as)
	}
	return spec, err
}

// readCheckpoint reads a function that is what an instance was.
func readCheckpoint(c *cli.Context, name string) (spec dispatcher.FunctionSpec, err error) {
	for _, flag := range []string{"program", "http", "ready", "code", "allow-shared-generators", "runtime", "image", "import", "layer", "requirements", "find-links", "allow-scripts", "watch"} {
		if c.IsSet(flag) {
			return spec, cmdline.Usagef(c.Command.HelpName, "--%s beside --from-snapshot: what the function is lies in the snapshot", flag)
		}
	}
	if c.NArg() != 1 || c.String("from-snapshot") == "" {
		return spec, cmdline.Usagef(c.Command.HelpName, "want NAME --from-snapshot NODE: the code is in the snapshot")
	}
	return dispatcher.FunctionSpec{Name: name, Snapshot: c.String("from-snapshot"), Handler: c.String("handler"), Lazy: c.Bool("lazy-args")}, nil
}

// readProgram reads the program that a function is, and where its files are; nil: it is a
// handler of a runtime's.
func readProgram(c *cli.Context) (program *functions.Program, path string, err error) {
	help, args := c.Command.HelpName, c.Args().Slice()
	isCommand := "" // the flag that says so
	switch {
	case c.Bool("program") && c.IsSet("http"):
		return nil, "", cmdline.Usagef(help, "--program and --http: a function is one of them")
	case c.Bool("program"):
		isCommand = "program"
	case c.IsSet("http"):
		isCommand = "http"
	}
	switch {
	case c.IsSet("ready") && isCommand != "http":
		return nil, "", cmdline.Usagef(help, "--ready is for servers: with --http PORT")
	case isCommand == "":
		return readBootstrap(c)
	case c.Bool("watch"):
		return nil, "", cmdline.Usagef(help, "--watch looks at PATH: a --%s has none", isCommand)
	case c.String("runtime") != "":
		return nil, "", cmdline.Usagef(help, "--runtime %s: a --%s has none", c.String("runtime"), isCommand)
	case len(args) < 2 && !c.IsSet("image"):
		return nil, "", cmdline.Usagef(help, "--%s: which command? It stands behind --, or is a container image's own: --image", isCommand)
	}
	program = &functions.Program{Contract: isCommand, Command: args[1:]}
	if isCommand == "http" {
		port := c.Uint("http")
		if port == 0 || port > math.MaxUint16 {
			return nil, "", cmdline.Usagef(help, "--http %d: a TCP port is 1 to %d", port, math.MaxUint16)
		}
		program.Port, program.ReadyPath = uint16(port), c.String("ready")
	}
	return program, c.String("code"), nil
}

// readBootstrap is readProgram for one of a runtime of AWS Lambda's.
func readBootstrap(c *cli.Context) (program *functions.Program, path string, err error) {
	help, args := c.Command.HelpName, c.Args().Slice()
	path, program = c.String("code"), contracts.OfRuntime(c.String("runtime"))
	switch {
	case len(args) == 1 && program != nil && c.IsSet("image") && c.Bool("watch"):
		return nil, "", cmdline.Usagef(help, "--watch looks at PATH: the own program of --image has none")
	case len(args) == 1 && program != nil && c.IsSet("image"):
		program.Command = nil // the image's own
		return program, path, nil
	case len(args) != 2:
		return nil, "", cmdline.Usagef(help, "want NAME PATH, NAME --program -- CMD..., NAME --http PORT -- CMD... or NAME --image IMAGE --runtime provided.al2023")
	case program != nil && path != "":
		return nil, "", cmdline.Usagef(help, "--code %s: the code is %s already", path, args[1])
	case program != nil:
		return program, args[1], nil
	}
	for _, flag := range []string{"code", "allow-shared-generators"} {
		if c.IsSet(flag) {
			return nil, "", cmdline.Usagef(help, "--%s is for programs: with --program, --http, or --runtime provided.al2023", flag)
		}
	}
	return nil, "", nil
}
