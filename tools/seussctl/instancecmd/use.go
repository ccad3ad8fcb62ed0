package instancecmd

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher/http/native/client"
	"seuss/dispatcher/instance"
	"seuss/dispatcher/instances"
	"seuss/tools/seussctl/cmdline"
)

// timeout says how long an instance may take for something.
func timeout() cli.Flag {
	return &cli.DurationFlag{Name: "timeout", Usage: "end it after `DURATION`: it has failed then, and can be rolled back (default: 30s)"}
}

func exec(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name: "exec", ArgsUsage: "NAME [CODE]", MinArgs: 1, MaxArgs: 2,
		Usage: "run code in the live interpreter; what it defines stays",
		Description: `
The code is CODE, or is read from standard input. What it prints comes as it is printed;
the value of its last expression follows, as the interpreter writes it, with --value as
JSON. An exception is the code's own failure: the instance lives on.`,
		Examples: []string{
			`seussctl instance exec lab 'import math; x = 2'`,
			`seussctl instance exec lab 'math.sqrt(x)'`,
			`seussctl instance exec lab < script.py`,
		},
		Flags: []cli.Flag{timeout(), &cli.BoolFlag{DisableDefaultText: true, Name: "value", Usage: "print the value as JSON; one that JSON cannot say is an error"}},
		Action: func(c *cli.Context, e *cmdline.Env) error {
			code := c.Args().Get(1)
			if c.NArg() == 1 {
				b, err := io.ReadAll(e.Stdin)
				if err != nil {
					return fmt.Errorf("read code: %w", err)
				}
				code = string(b)
			}
			return with(c, e, func(ctx context.Context, l client.Live) error {
				call := instances.Call{Code: &code, Timeout: instances.Millis(c.Duration("timeout"))}
				a, err := l.Exec(ctx, c.Args().First(), call, func(line instance.LogLine) { printed(e, line) })
				if err != nil {
					return err
				}
				return printAnswer(e, a, c.Bool("value"))
			})
		},
	})
}

// printed prints output of an instance's where it belongs. With --json it is in the way.
func printed(e *cmdline.Env, line instance.LogLine) {
	to := e.Stderr
	if line.Stream == "stdout" && !e.JSON {
		to = e.Stdout
	}
	io.WriteString(to, line.Text)
}

func printAnswer(e *cmdline.Env, a *instances.Answer, value bool) error {
	if e.JSON {
		if err := e.PrintJSON(a); err != nil {
			return err
		}
		if a.Error != nil {
			return cmdline.ErrFunctionReported
		}
		return nil
	}
	if a.Cut {
		e.Notef("some of the output is lost: there was too much of it")
	}
	text := a.Repr
	switch {
	case a.Error != nil:
		return printFailure(e, a.Error)
	case value && a.Value == nil:
		return fmt.Errorf("the value is %.200s, which JSON cannot say: leave out --value", a.Repr)
	case value:
		text = string(a.Value)
	case text == "":
		return nil // nothing is the result, as at a prompt
	}
	_, err := fmt.Fprintln(e.Stdout, text)
	return err
}

// printFailure prints an exception as an interpreter does.
func printFailure(e *cmdline.Env, failure *instance.HandlerError) error {
	for _, line := range append(failure.StackTrace, failure.Trace...) {
		fmt.Fprintln(e.Stderr, strings.TrimRight(line, "\n"))
	}
	if _, err := fmt.Fprintf(e.Stderr, "%s: %s\n", failure.Type, failure.Message); err != nil {
		return err
	}
	return cmdline.ErrFunctionReported
}

func invoke(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name: "invoke", ArgsUsage: "NAME [EVENT]", MinArgs: 1, MaxArgs: 2,
		Usage:       "have the handler in the live instance handle an event; state stays",
		Description: "The event is EVENT, JSON, or {}.",
		Examples:    []string{`seussctl instance invoke i-12ab '{"name": "x"}'`},
		Flags:       []cli.Flag{timeout()},
		Action: func(c *cli.Context, e *cmdline.Env) error {
			call := instances.Call{Event: json.RawMessage(`{}`), Timeout: instances.Millis(c.Duration("timeout"))}
			if c.NArg() == 2 {
				call.Event = json.RawMessage(c.Args().Get(1))
				if !json.Valid(call.Event) {
					return cmdline.Usagef(c.Command.HelpName, "the event is not JSON")
				}
			}
			return with(c, e, func(ctx context.Context, l client.Live) error {
				a, err := l.Invoke(ctx, c.Args().First(), call)
				if err != nil {
					return err
				}
				for _, line := range a.Logs {
					io.WriteString(e.Stderr, line.Text)
				}
				if a.Value == nil {
					a.Value = json.RawMessage("null")
				}
				return printAnswer(e, a, true)
			})
		},
	})
}

func logs(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name: "logs", ArgsUsage: "NAME", MinArgs: 1, MaxArgs: 1,
		Usage:    "print what an instance has printed last",
		Examples: []string{"seussctl instance logs lab", "seussctl instance logs -f lab"},
		Flags:    []cli.Flag{&cli.BoolFlag{DisableDefaultText: true, Name: "follow", Aliases: []string{"f"}, Usage: "and what it prints from then on, until it is gone or Ctrl-C"}},
		Action: func(c *cli.Context, e *cmdline.Env) error {
			return with(c, e, func(ctx context.Context, l client.Live) error {
				name := c.Args().First()
				if c.Bool("follow") {
					err := l.Follow(ctx, name, func(line instance.LogLine) { printed(e, line) })
					if ctx.Err() != nil {
						return nil // that is how it ends
					}
					return err
				}
				list, err := l.Logs(ctx, name)
				if err != nil {
					return err
				}
				if e.JSON {
					return e.PrintJSON(list)
				}
				for _, line := range list {
					printed(e, line)
				}
				return nil
			})
		},
	})
}
