package app

import (
	"strings"

	"github.com/urfave/cli/v2"
)

// Help texts. The names of nested templates are those of the cli library.
const (
	rootHelp = `seussctl - {{.Usage}}

USAGE
   seussctl [global options] COMMAND [SUBCOMMAND] [options] [arguments]

COMMANDS{{range .VisibleCommands}}
   {{.Name}}{{"\t"}}{{.Usage}}{{end}}

GLOBAL OPTIONS (anywhere on the command line){{range .VisibleFlags}}
   {{.}}{{end}}

EXAMPLES
   seussctl doctor
   seussctl image build
   seussctl run hello.py --event '{"name": "Ada"}'
   seussctl function deploy hello hello.py --import json,re
   seussctl invoke hello --event @event.json --timings
   seussctl snapshot tree

EXIT CODES
   0 success, 1 failure, 2 wrong usage, 3 the function itself failed

'seussctl COMMAND --help' tells more about a command.
`
	groupHelp = `{{.HelpName}} - {{.Usage}}

USAGE
   {{.HelpName}} COMMAND [options] [arguments]

COMMANDS{{range .VisibleCommands}}
   {{.Name}}{{"\t"}}{{.Usage}}{{end}}

'{{.HelpName}} COMMAND --help' tells more about a command.
`
	commandHelp = `{{.HelpName}} - {{.Usage}}

USAGE
   {{.HelpName}}{{if .VisibleFlags}} [options]{{end}}{{if .ArgsUsage}} {{.ArgsUsage}}{{end}}
{{if .Description}}
{{.Description}}
{{end}}
OPTIONS{{range .VisibleFlags}}
   {{.}}{{end}}

GLOBAL OPTIONS
   --json, --state DIR, --platform NAME, --huge-pages WHEN, --verbose: see 'seussctl --help'
`
)

// spec is what a command says about itself.
type spec struct {
	name, args, usage string
	description       string   // indented by three spaces when shown
	examples          []string // command lines
	hidden            bool
	flags             []cli.Flag
	minArgs, maxArgs  int
	complete          func(*env) []string // candidates for the arguments, may be nil
	action            func(*cli.Context, *env) error
}

// command makes the library's command of a spec.
func (e *env) command(s spec) *cli.Command {
	help := commandHelp
	if len(s.examples) > 0 {
		help += "\nEXAMPLES\n   " + strings.Join(s.examples, "\n   ") + "\n"
	}
	c := &cli.Command{
		Name: s.name, ArgsUsage: s.args, Usage: s.usage, Flags: s.flags, Hidden: s.hidden,
		Description:        indent(s.description),
		CustomHelpTemplate: help,
		HideHelpCommand:    true,
		OnUsageError:       usageFromLibrary,
	}
	c.Action = func(ctx *cli.Context) error {
		switch n := ctx.Args().Len(); {
		case n < s.minArgs && n == 0:
			return usagef(c.HelpName, "%s needs %s", c.HelpName, s.args)
		case n < s.minArgs:
			return usagef(c.HelpName, "%s needs %s, got only %q", c.HelpName, s.args, ctx.Args().Slice())
		case n > s.maxArgs:
			return usagef(c.HelpName, "%s: unexpected argument %q", c.HelpName, ctx.Args().Get(s.maxArgs))
		}
		return s.action(ctx, e)
	}
	if s.complete != nil {
		e.complete[c] = s.complete
	}
	return c
}

// group makes a command that only has subcommands.
func (e *env) group(name, usage string, subcommands ...*cli.Command) *cli.Command {
	return &cli.Command{
		Name: name, Usage: usage, Subcommands: subcommands,
		CustomHelpTemplate: groupHelp,
		HideHelpCommand:    true,
		OnUsageError:       usageFromLibrary,
		Action: func(ctx *cli.Context) error {
			return unknownCommand(ctx, ctx.Command.HelpName, ctx.Command.Subcommands)
		},
	}
}

// unknownCommand is the usage error for a missing or misspelt command.
func unknownCommand(ctx *cli.Context, parent string, commands []*cli.Command) error {
	if !ctx.Args().Present() {
		var names []string
		for _, c := range commands {
			if !c.Hidden {
				names = append(names, c.Name)
			}
		}
		return usagef(parent, "%s needs a command: %s", parent, strings.Join(names, ", "))
	}
	name := ctx.Args().First()
	if near := cli.SuggestCommand(visible(commands), name); near != "" {
		return usagef(parent, "unknown command %q. %s", name, near)
	}
	return usagef(parent, "unknown command %q", name)
}

func visible(commands []*cli.Command) (out []*cli.Command) {
	for _, c := range commands {
		if !c.Hidden {
			out = append(out, c)
		}
	}
	return out
}

// usageFromLibrary turns the cli library's complaint about flags into ours.
func usageFromLibrary(ctx *cli.Context, err error, _ bool) error {
	name := "seussctl"
	if ctx.Command != nil && ctx.Command.HelpName != "" {
		name = ctx.Command.HelpName
	}
	if flag, ok := strings.CutPrefix(err.Error(), "flag provided but not defined: -"); ok {
		flag = strings.TrimLeft(flag, "-")
		near := ""
		if ctx.Command != nil {
			near = cli.SuggestFlag(ctx.Command.Flags, flag, false)
		}
		if near != "" {
			return usagef(name, "%s: unknown option --%s. Did you mean %s?", name, flag, near)
		}
		return usagef(name, "%s: unknown option --%s", name, flag)
	}
	return &usageError{name, err}
}

func indent(text string) string {
	if text == "" {
		return ""
	}
	return "   " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n   ")
}
