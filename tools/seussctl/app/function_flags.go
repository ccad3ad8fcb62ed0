package app

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher"
	"seuss/dispatcher/bundle"
)

// codeFlags are the flags of commands that take a function's code.
func codeFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "handler", Usage: "`MODULE.FUNCTION` to call (default: the only module's \"handler\")"},
		&cli.StringFlag{Name: "import", Usage: "comma-separated `MODULES` to have imported in a snapshot of their own"},
		&cli.BoolFlag{DisableDefaultText: true, Name: "lazy-args", Usage: "let the function ask for the event's keys one by one, so that it can be captured half way"},
		&cli.StringFlag{Name: "image", Value: defaultImage, Usage: "`NAME` of the image to run in"},
	}
}

// readFunction makes the deployment that codeFlags and a path describe.
func (e *env) readFunction(c *cli.Context, name, path string) (dispatcher.FunctionSpec, error) {
	spec := dispatcher.FunctionSpec{
		Name: name, Handler: c.String("handler"), Image: c.String("image"), Lazy: c.Bool("lazy-args"),
	}
	if c.IsSet("import") {
		var err error
		if spec.Imports, err = splitList(c.String("import")); err != nil {
			return spec, usagef(c.Command.HelpName, "--import %q: %w", c.String("import"), err)
		}
	}
	files, handler, err := bundle.Load(path)
	if err != nil {
		return spec, err
	}
	spec.Files = files
	if spec.Handler == "" {
		spec.Handler = handler
	}
	if spec.Handler == "" {
		return spec, &usageError{c.Command.HelpName, fmt.Errorf("%s holds more than one module at its top; say which with --handler MODULE.FUNCTION", path)}
	}
	return spec, nil
}
