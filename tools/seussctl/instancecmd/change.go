package instancecmd

import (
	"context"
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher/api"
	"seuss/dispatcher/http/native/client"
	"seuss/dispatcher/instances"
	"seuss/tools/seussctl/cmdline"
)

// each makes a command that does something with each instance that it names.
func each(e *cmdline.Env, s cmdline.Spec, do func(c *cli.Context, l client.Live, name string) (instances.Info, error)) *cli.Command {
	s.ArgsUsage, s.MinArgs, s.MaxArgs = "NAME...", 1, maxNames
	s.Action = func(c *cli.Context, e *cmdline.Env) error {
		return with(c, e, func(_ context.Context, l client.Live) error {
			list := []instances.Info{}
			var errs []error
			for _, name := range c.Args().Slice() {
				info, err := do(c, l, name)
				if err != nil {
					errs = append(errs, err)
				} else {
					list = append(list, info)
				}
			}
			if e.JSON {
				errs = append(errs, e.PrintJSON(list))
			}
			return errors.Join(errs...)
		})
	}
	return e.Command(s)
}

// maxNames bounds the instances that a command names.
const maxNames = 100_000

func pause(e *cmdline.Env) *cli.Command {
	return each(e, cmdline.Spec{
		Name: "pause", Usage: "have instances stand still: their timers too, until they are asked for something",
		Examples: []string{"seussctl instance pause lab", "seussctl instance pause lab --durable"},
		Flags:    []cli.Flag{&cli.BoolFlag{DisableDefaultText: true, Name: "durable", Usage: "keep them on disk as they are then: until they go on they survive the daemon's death"}},
	}, func(c *cli.Context, l client.Live, name string) (instances.Info, error) {
		return l.Pause(c.Context, name, c.Bool("durable"))
	})
}

func resume(e *cmdline.Env) *cli.Command {
	return each(e, cmdline.Spec{
		Name: "resume", Usage: "have instances that are paused go on",
		Examples: []string{"seussctl instance resume lab"},
	}, func(c *cli.Context, l client.Live, name string) (instances.Info, error) {
		return l.Resume(c.Context, name)
	})
}

func rm(e *cmdline.Env) *cli.Command {
	return each(e, cmdline.Spec{
		Name: "rm", Usage: "end instances; what they do is cancelled",
		Examples: []string{"seussctl instance rm lab"},
	}, func(c *cli.Context, l client.Live, name string) (instances.Info, error) {
		return instances.Info{Name: name, State: instances.Gone}, l.Remove(c.Context, name)
	})
}

func wait(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name: "wait", ArgsUsage: "NAME", MinArgs: 1, MaxArgs: 1,
		Usage:    "wait until an instance does nothing any more, or is in a state, and print that",
		Examples: []string{"seussctl instance wait lab", "seussctl instance wait lab --state gone"},
		Flags:    []cli.Flag{&cli.StringFlag{Name: "state", Usage: "wait for `STATE`: parked, running, paused, failed or gone"}},
		Action: func(c *cli.Context, e *cmdline.Env) error {
			return with(c, e, func(ctx context.Context, l client.Live) error {
				info, err := l.Wait(ctx, c.Args().First(), c.String("state"))
				if err != nil {
					return err
				}
				if e.JSON {
					return e.PrintJSON(info)
				}
				_, err = fmt.Fprintln(e.Stdout, info.State)
				return err
			})
		},
	})
}

func fork(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name: "fork", ArgsUsage: "NAME [COPY...]", MinArgs: 1, MaxArgs: 1 + instances.MaxFork,
		Usage: "copy a live instance, and print the names of the copies",
		Description: `
Each copy has what the instance has, heap, open files, threads, timers, and an identity,
random numbers and a clock of its own. Its connections to the outside stay with the
original. An instance is forked between two things that it was asked for: one that does
not come there within ten seconds is not, and says so.`,
		Examples: []string{"seussctl instance fork lab", "seussctl instance fork -n 100 lab", "seussctl instance fork lab left right"},
		Flags:    []cli.Flag{&cli.IntFlag{Name: "number", Aliases: []string{"n"}, Usage: "make `N` copies (default: 1, or as many as are named)"}},
		Action: func(c *cli.Context, e *cmdline.Env) error {
			return with(c, e, func(ctx context.Context, l client.Live) error {
				list, err := l.Fork(ctx, c.Args().First(), api.Fork{Count: c.Int("number"), Names: c.Args().Tail()})
				if err != nil {
					return err
				}
				return printNames(e, list, list...)
			})
		},
	})
}

func checkpoint(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name: "checkpoint", ArgsUsage: "NAME", MinArgs: 1, MaxArgs: 1,
		Usage:       "make a snapshot of what an instance is, and print its id",
		Description: "It is a node of the lineage, of kind instance: see seussctl snapshot tree, show, diff, export, gc.",
		Examples:    []string{"seussctl instance checkpoint lab --tag before-the-change"},
		Flags:       []cli.Flag{&cli.StringFlag{Name: "tag", Usage: "call it `TAG`: a collection leaves it alone then"}},
		Action: func(c *cli.Context, e *cmdline.Env) error {
			return with(c, e, func(ctx context.Context, l client.Live) error {
				n, err := l.Checkpoint(ctx, c.Args().First(), api.Checkpoint{Tag: c.String("tag")})
				if err != nil {
					return err
				}
				if e.JSON {
					return e.PrintJSON(n)
				}
				_, err = fmt.Fprintln(e.Stdout, n.ID)
				return err
			})
		},
	})
}

func rollback(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name: "rollback", ArgsUsage: "NAME NODE", MinArgs: 2, MaxArgs: 2,
		Usage:       "make an instance what it was at a snapshot; one that has failed lives again",
		Description: "NODE is an id, the beginning of one, or a tag: a checkpoint of this or another instance, or what one can begin as.",
		Examples:    []string{"seussctl instance rollback lab before-the-change"},
		Action: func(c *cli.Context, e *cmdline.Env) error {
			return with(c, e, func(ctx context.Context, l client.Live) error {
				info, err := l.Rollback(ctx, c.Args().First(), c.Args().Get(1))
				if err != nil {
					return err
				}
				if e.JSON {
					return e.PrintJSON(info)
				}
				return nil
			})
		},
	})
}
