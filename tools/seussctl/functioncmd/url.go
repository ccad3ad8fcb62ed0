package functioncmd

import (
	"context"
	"fmt"
	"net/url"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher"
	"seuss/dispatcher/api"
	"seuss/dispatcher/functions"
	"seuss/tools/seussctl/cmdline"
)

// who are those that a URL lets in, for people.
var who = map[string]string{functions.AuthNone: "everybody", functions.AuthIAM: "who signs (AWS_IAM)"}

func functionURL(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:      "url",
		ArgsUsage: "NAME",
		Usage:     "give a function an address of its own, or print it",
		Description: `
A function with a URL answers requests at an address of the daemon's: any method, path
and body, as an event of AWS Lambda's payload format 2.0. With --auth none whoever
reaches the daemon may ask, without a token; with iam who signs (AWS Signature Version 4,
service lambda) as a token that may invoke it. The address stays when the auth changes.`,
		Examples: []string{"seussctl function url hello --auth none", "curl $(seussctl function url hello)", "seussctl function url hello --remove"},
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "auth", Usage: "`WHO` may ask: none (everybody) or iam (who signs)"},
			&cli.BoolFlag{DisableDefaultText: true, Name: "remove", Usage: "take the address away"},
		},
		MinArgs: 1, MaxArgs: 1,
		Complete: cmdline.FunctionNames,
		Action: func(c *cli.Context, e *cmdline.Env) error {
			auth := map[string]string{"none": functions.AuthNone, "iam": functions.AuthIAM}[c.String("auth")]
			switch {
			case c.IsSet("auth") && auth == "":
				return cmdline.Usagef(c.Command.HelpName, "--auth %s: want none or iam", c.String("auth"))
			case c.IsSet("auth") && c.Bool("remove"):
				return cmdline.Usagef(c.Command.HelpName, "--auth and --remove exclude each other")
			case c.IsSet("auth"), c.Bool("remove"):
				return changeURL(c, e, auth)
			}
			list, damaged, err := deployed(c.Context, e)
			if err != nil {
				return err
			}
			name := cmdline.FunctionKey(c.Args().First())
			for i := range list {
				if list[i].Name == name {
					return printURL(c, e, &list[i])
				}
			}
			if damaged != nil {
				return damaged
			}
			return fmt.Errorf("%w: %q", dispatcher.ErrUnknownFunction, name)
		},
	})
}

func changeURL(c *cli.Context, e *cmdline.Env, auth string) error {
	return e.WithEngine(dispatcher.Options{}, func(d cmdline.Service) error {
		f, err := d.Update(c.Context, cmdline.FunctionKey(c.Args().First()), api.Update{URL: api.To(auth)})
		if err != nil {
			return err
		}
		e.Progress.Clear()
		if auth == "" {
			return nil
		}
		return printURL(c, e, f)
	})
}

func printURL(c *cli.Context, e *cmdline.Env, f *api.Function) error {
	u := f.Attached[dispatcher.Latest].URL
	if u == nil {
		return fmt.Errorf("function %q has no URL: give it one with --auth none or --auth iam", f.Name)
	}
	address := addressOf(c.Context, e, u)
	if e.JSON {
		return e.PrintJSON(map[string]string{"url": address, "auth": u.Auth})
	}
	_, err := fmt.Fprintln(e.Stdout, address)
	return err
}

// addressOf is a URL at the daemon that runs; where none does its port is not known.
func addressOf(ctx context.Context, e *cmdline.Env, u *functions.URL) string {
	host := u.Host()
	if d := e.Daemon(); d != nil {
		defer d.Close()
		if at, err := d.Endpoint(ctx); err == nil {
			if p, err := url.Parse(at.URL); err == nil && p.Port() != "" {
				host += ":" + p.Port()
			}
		}
	}
	return "http://" + host + "/"
}
