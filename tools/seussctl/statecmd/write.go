package statecmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher/http/native/client"
	"seuss/dispatcher/state"
	"seuss/tools/seussctl/cmdline"
)

func put(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name: "put", ArgsUsage: "KEY FILE|-", MinArgs: 2, MaxArgs: 2,
		Usage: "make a file, or standard input, a key's value",
		Description: `
A KEY is SHARE/NAME; functions reach the shares that their deployments name. What is larger
than 8 MiB is written in parts, which others see; if somebody else writes between them the
command fails, and the value is neither's.`,
		Examples: []string{"seussctl state put models/weights weights.npy", "date | seussctl state put orders/today -"},
		Flags:    []cli.Flag{&cli.Uint64Flag{Name: "version", Usage: "write only if the value has version `N`; 0: only if there is none"}},
		Action: func(c *cli.Context, e *cmdline.Env) error {
			key, path := c.Args().Get(0), c.Args().Get(1)
			var need state.If
			if c.IsSet("version") {
				version := c.Uint64("version")
				need.Version = &version
			}
			return with(c, e, func(ctx context.Context, s client.State) error {
				from := io.NopCloser(e.Stdin)
				if path != "-" {
					f, err := os.Open(path)
					if err != nil {
						return err
					}
					from = f
				}
				m, err := s.Put(ctx, key, from, need)
				return printWritten(e, "wrote", key, m, errors.Join(err, from.Close()))
			})
		},
	})
}

// printWritten says what has become of a value.
func printWritten(e *cmdline.Env, done, key string, m state.Meta, err error) error {
	switch {
	case err != nil:
		return err
	case e.JSON:
		return e.PrintJSON(value{Key: key, Meta: m})
	}
	_, err = fmt.Fprintf(e.Stdout, "%s %s: %s, version %d\n", done, cmdline.Printable(key), cmdline.FormatBytes(uint64(m.Size)), m.Version)
	return err
}

// maxKeys bounds the arguments of one command.
const maxKeys = 10_000

func rm(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name: "rm", ArgsUsage: "KEY...", MinArgs: 1, MaxArgs: maxKeys,
		Usage: "remove values",
		Description: `
What was pushed of a value stays, and can be pulled. --pushed drops that instead, and
leaves the value.`,
		Examples: []string{"seussctl state rm orders/today", "seussctl state rm --pushed orders/today"},
		Flags:    []cli.Flag{&cli.BoolFlag{DisableDefaultText: true, Name: "pushed", Usage: "drop what was pushed"}},
		Action: func(c *cli.Context, e *cmdline.Env) error {
			return with(c, e, func(ctx context.Context, s client.State) error {
				remove := s.Delete
				if c.Bool("pushed") {
					remove = s.Forget
				}
				removed := []string{}
				var errs []error
				for _, key := range c.Args().Slice() {
					if err := remove(ctx, key); err != nil {
						errs = append(errs, err)
						continue
					}
					removed = append(removed, key)
					if !e.JSON {
						fmt.Fprintln(e.Stdout, cmdline.Printable(key))
					}
				}
				if e.JSON {
					errs = append(errs, e.PrintJSON(struct {
						Removed []string `json:"removed"`
					}{removed}))
				}
				return errors.Join(errs...)
			})
		},
	})
}

func push(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name: "push", ArgsUsage: "KEY", MinArgs: 1, MaxArgs: 1,
		Usage:    "keep a value as it is now: it survives the daemon",
		Examples: []string{"seussctl state push models/weights"},
		Action: func(c *cli.Context, e *cmdline.Env) error {
			return with(c, e, func(ctx context.Context, s client.State) error {
				m, err := s.Push(ctx, c.Args().First())
				return printWritten(e, "pushed", c.Args().First(), m, err)
			})
		},
	})
}

func pull(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name: "pull", ArgsUsage: "KEY", MinArgs: 1, MaxArgs: 1,
		Usage:    "make a value what was pushed of it last",
		Examples: []string{"seussctl state pull models/weights"},
		Action: func(c *cli.Context, e *cmdline.Env) error {
			return with(c, e, func(ctx context.Context, s client.State) error {
				m, err := s.Pull(ctx, c.Args().First())
				return printWritten(e, "pulled", c.Args().First(), m, err)
			})
		},
	})
}
