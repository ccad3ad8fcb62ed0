package cmdline

import (
	"strings"

	"github.com/urfave/cli/v2"
)

// Help texts. The names of nested templates are those of the cli library.
const (
	RootHelp = `seussctl - {{.Usage}}

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

// Spec is what a command says about itself.
type Spec struct {
	Name, ArgsUsage, Usage string
	Description            string   // indented by three spaces when shown
	Examples               []string // command lines
	hidden                 bool
	Flags                  []cli.Flag
	MinArgs, MaxArgs       int
	Complete               func(*Env) []string // candidates for the arguments, may be nil
	Action                 func(*cli.Context, *Env) error
}

// Command makes the library's command of a spec.
func (e *Env) Command(s Spec) *cli.Command {
	help := commandHelp
	if len(s.Examples) > 0 {
		help += "\nEXAMPLES\n   " + strings.Join(s.Examples, "\n   ") + "\n"
	}
	c := &cli.Command{
		Name: s.Name, ArgsUsage: s.ArgsUsage, Usage: s.Usage, Flags: s.Flags, Hidden: s.hidden,
		Description:        indent(s.Description),
		CustomHelpTemplate: help,
		HideHelpCommand:    true,
		OnUsageError:       UsageFromLibrary,
	}
	c.Action = func(ctx *cli.Context) error {
		switch n := ctx.Args().Len(); {
		case n < s.MinArgs && n == 0:
			return Usagef(c.HelpName, "%s needs %s", c.HelpName, s.ArgsUsage)
		case n < s.MinArgs:
			return Usagef(c.HelpName, "%s needs %s, got only %q", c.HelpName, s.ArgsUsage, ctx.Args().Slice())
		case n > s.MaxArgs:
			return Usagef(c.HelpName, "%s: unexpected argument %q", c.HelpName, ctx.Args().Get(s.MaxArgs))
		}
		return s.Action(ctx, e)
	}
	if s.Complete != nil {
		e.Complete[c] = s.Complete
	}
	return c
}

// Group makes a command that only has subcommands.
func (e *Env) Group(name, usage string, subcommands ...*cli.Command) *cli.Command {
	return &cli.Command{
		Name: name, Usage: usage, Subcommands: subcommands,
		CustomHelpTemplate: groupHelp,
		HideHelpCommand:    true,
		OnUsageError:       UsageFromLibrary,
		Action: func(ctx *cli.Context) error {
			return UnknownCommand(ctx, ctx.Command.HelpName, ctx.Command.Subcommands)
		},
	}
}

// UnknownCommand is the usage error for a missing or misspelt command.
func UnknownCommand(ctx *cli.Context, parent string, commands []*cli.Command) error {
	if !ctx.Args().Present() {
		var names []string
		for _, c := range commands {
			if !c.Hidden {
				names = append(names, c.Name)
			}
		}
		return Usagef(parent, "%s needs a command: %s", parent, strings.Join(names, ", "))
	}
	name := ctx.Args().First()
	if near := cli.SuggestCommand(Visible(commands), name); near != "" {
		return Usagef(parent, "unknown command %q. %s", name, near)
	}
	return Usagef(parent, "unknown command %q", name)
}

func Visible(commands []*cli.Command) (out []*cli.Command) {
	for _, c := range commands {
		if !c.Hidden {
			out = append(out, c)
		}
	}
	return out
}

// UsageFromLibrary turns the cli library's complaint about flags into ours.
func UsageFromLibrary(ctx *cli.Context, err error, _ bool) error {
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
			return Usagef(name, "%s: unknown option --%s. Did you mean %s?", name, flag, near)
		}
		return Usagef(name, "%s: unknown option --%s", name, flag)
	}
	return &UsageError{Command: name, Err: err}
}

func indent(text string) string {
	if text == "" {
		return ""
	}
	return "   " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n   ")
}
