package cmdline

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher"
	"seuss/dispatcher/bundle"
	"seuss/images/runtimes"
)

// CodeFlags are the flags of commands that take a function's code.
func CodeFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "handler", Usage: "`MODULE.FUNCTION` to call (default: the only module's \"handler\")"},
		&cli.StringFlag{Name: "import", Usage: "comma-separated `MODULES` to have imported in a snapshot of their own"},
		&cli.BoolFlag{DisableDefaultText: true, Name: "lazy-args", Usage: "let the function ask for the event's keys one by one, so that it can be captured half way"},
		RuntimeFlag(),
		&cli.StringFlag{Name: "image", Usage: "`NAME` of the image to run in (default: the runtime's, or the one that holds the version)"},
	}
}

// RuntimeFlag names what a function is written for.
func RuntimeFlag() cli.Flag {
	return &cli.StringFlag{Name: "runtime", Usage: "`RUNTIME` of the function: " + OrList(functionRuntimes()) + ", or a version by its name in AWS Lambda (default: by the files' endings, else " + runtimes.Default().Name + ")"}
}

// ParseRuntime reads the value of --runtime.
func ParseRuntime(c *cli.Context, name string) (runtimes.Ask, error) {
	ask, err := runtimes.ParseAsk(name)
	if err == nil && ask.Runtime.Endings == nil {
		err = fmt.Errorf("functions cannot be written in %s", ask.Runtime.Title)
	}
	if err != nil {
		return ask, Usagef(c.Command.HelpName, "--runtime: %w", err)
	}
	return ask, nil
}

// ReadFunction makes the deployment that codeFlags and a path describe.
func (e *Env) ReadFunction(c *cli.Context, name, path string) (dispatcher.FunctionSpec, error) {
	spec := dispatcher.FunctionSpec{
		Name: name, Handler: c.String("handler"), Image: c.String("image"), Lazy: c.Bool("lazy-args"),
	}
	if c.IsSet("import") {
		var err error
		if spec.Imports, err = SplitList(c.String("import")); err != nil {
			return spec, Usagef(c.Command.HelpName, "--import %q: %w", c.String("import"), err)
		}
	}
	files, handler, err := bundle.Load(path)
	if err != nil {
		return spec, err
	}
	spec.Files = files
	r := runtimes.ByFiles(files)
	ask := runtimes.Ask{Runtime: r}
	if name := c.String("runtime"); name != "" {
		if ask, err = ParseRuntime(c, name); err != nil {
			return spec, err
		}
	}
	spec.Settings.Runtime = ask.String()
	if spec.Image == "" && ask.Version == "" { // else the version says which
		spec.Image = ask.Runtime.Name
	}
	if spec.Handler == "" {
		spec.Handler = handler
	}
	if spec.Handler == "" {
		return spec, &UsageError{Command: c.Command.HelpName, Err: fmt.Errorf("%s holds more than one module at its top; say which with --handler MODULE.FUNCTION", path)}
	}
	return spec, nil
}

// functionRuntimes names the runtimes that functions can be written for.
func functionRuntimes() (names []string) {
	for _, r := range runtimes.WithFunctions() {
		names = append(names, r.Name)
	}
	return names
}

// OrList is a list for people: a, b or c.
func OrList(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}
