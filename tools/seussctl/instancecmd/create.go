package instancecmd

import (
	"context"
	"fmt"
	"math"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"seuss/dispatcher/functions"
	"seuss/dispatcher/http/native/client"
	"seuss/dispatcher/instances"
	"seuss/tools/seussctl/cmdline"
)

func create(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name: "create", ArgsUsage: "[-- CMD...]", MaxArgs: cmdline.MaxCommandWords,
		Usage: "make an instance of a function, an image or a snapshot, and print its name",
		Description: `
It lives in the daemon until it is removed, or its time is over, and holds no machine
between two uses. Of an image it is an interpreter in which nothing has run yet; of a
function it has the code loaded too; of a snapshot, such as a checkpoint, it is what that
is. With a command behind --, --program or --http it is a program of the image, which is
typed to with exec, or given requests on its port.`,
		Examples: []string{
			"seussctl instance create --image python --name lab",
			"seussctl instance create --function hello --ttl 1h --idle-ttl 10m",
			"seussctl instance create --snapshot before-the-change",
			"seussctl instance create --image tools --name calc -- /usr/bin/bc -q",
			"seussctl instance create --image shop --http 8080",
		},
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "function", Usage: "of `FUNCTION`"},
			&cli.StringFlag{Name: "image", Usage: "of `IMAGE`: its runtime alone, or the program behind --"},
			&cli.StringFlag{Name: "snapshot", Usage: "of `NODE`: an id, the beginning of one, or a tag"},
			&cli.BoolFlag{DisableDefaultText: true, Name: "program", Usage: "it is the own program of --image, on its standard input (default with a command behind --)"},
			&cli.UintFlag{Name: "http", Usage: "it is the command behind --, or the own program of --image, a server of HTTP on this `PORT`"},
			&cli.StringFlag{Name: "ready", Usage: "`PATH` that a --http server has to answer with 2xx before it is there"},
			&cli.BoolFlag{DisableDefaultText: true, Name: "allow-shared-generators", Usage: "let copies of a program, and what begins as it was, draw the same random numbers"},
			&cli.BoolFlag{DisableDefaultText: true, Name: "public", Usage: "let everybody who reaches the daemon reach its ports at http://[PORT.]NAME.instance.localhost, without a token"},
			&cli.StringFlag{Name: "name", Usage: "call it `NAME` (default: one is made up)"},
			&cli.BoolFlag{DisableDefaultText: true, Name: "durable", Usage: "keep it on disk after each thing that it was asked for, before the answer leaves: it survives the daemon's death"},
			&cli.DurationFlag{Name: "ttl", Usage: "remove it after `DURATION` (default: never)"},
			&cli.DurationFlag{Name: "idle-ttl", Usage: "remove it when nobody has used it for `DURATION` (default: never)"},
			&cli.StringFlag{Name: "memory", Usage: "end it if it writes more than `SIZE`, in whole MiB (default: its function's bound, or the image's memory)"},
			&cli.StringSliceFlag{Name: "allow-net", Usage: "let it reach `ENTRY`, of what the daemon allows; may be repeated: HOST:PORT, *.DOMAIN:PORT or CIDR:PORT, or none (default: what its function may, or all that the daemon allows)"},
		},
		Action: func(c *cli.Context, e *cmdline.Env) error {
			s := instances.Spec{Function: c.String("function"), Image: c.String("image"), Snapshot: c.String("snapshot"), Name: c.String("name"), Durable: c.Bool("durable"), Public: c.Bool("public"),
				TTL: instances.Millis(c.Duration("ttl")), IdleTTL: instances.Millis(c.Duration("idle-ttl"))}
			var err error
			if s.Program, err = readProgram(c); err != nil {
				return err
			}
			s.SharedGenerators = c.Bool("allow-shared-generators")
			if c.IsSet("allow-net") {
				for _, entry := range c.StringSlice("allow-net") {
					if entry != "none" {
						s.Network = append(s.Network, entry)
					}
				}
				s.Network = append([]string{}, s.Network...)
			}
			if text := c.String("memory"); text != "" {
				n, err := humanize.ParseBytes(text)
				if err != nil || n == 0 || n%(1<<20) != 0 {
					return cmdline.Usagef(c.Command.HelpName, "--memory %s: want whole MiB, such as 128MiB", text)
				}
				s.MemoryMiB = int(n >> 20)
			}
			return with(c, e, func(ctx context.Context, l client.Live) error {
				info, err := l.Create(ctx, s)
				if err != nil {
					return err
				}
				return printNames(e, info, info)
			})
		},
	})
}

// readProgram reads the program that an instance is to be; nil: none.
func readProgram(c *cli.Context) (*functions.Program, error) {
	p := &functions.Program{Contract: "program", Command: c.Args().Slice()}
	switch help := c.Command.HelpName; {
	case c.Bool("program") && c.IsSet("http"):
		return nil, cmdline.Usagef(help, "--program and --http: an instance is one of them")
	case !c.IsSet("http") && c.IsSet("ready"):
		return nil, cmdline.Usagef(help, "--ready is for servers: with --http PORT")
	case !c.Bool("program") && !c.IsSet("http") && c.NArg() == 0:
		return nil, nil
	case c.String("image") == "":
		return nil, cmdline.Usagef(help, "a program is one of an image: --image IMAGE")
	case c.IsSet("http"):
		port := c.Uint("http")
		if port == 0 || port > math.MaxUint16 {
			return nil, cmdline.Usagef(help, "--http %d: a TCP port is 1 to %d", port, math.MaxUint16)
		}
		p.Contract, p.Port, p.ReadyPath = "http", uint16(port), c.String("ready")
	}
	return p, nil
}

// printNames prints the names of instances, a line each; with --json the document.
func printNames(e *cmdline.Env, document any, list ...instances.Info) error {
	if e.JSON {
		return e.PrintJSON(document)
	}
	for _, info := range list {
		if _, err := fmt.Fprintln(e.Stdout, cmdline.Printable(info.Name)); err != nil {
			return err
		}
	}
	return nil
}
