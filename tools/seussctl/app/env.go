package app

import (
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher/access"
	"seuss/tools/seussctl/cmdline"
)

func env(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:  "env",
		Usage: "print the variables that AWS's clients need",
		Description: `
Prints, for a shell to evaluate, the variables with which AWS's command line and SDKs
reach the daemon on this state directory: its address, a region, and its token as
their secret access key. Who sees the output can use the daemon.`,
		Examples: []string{
			`eval "$(seussctl env)" && aws lambda list-functions`,
			`curl -H "Authorization: Bearer $(seussctl env --json | jq -r .AWS_SECRET_ACCESS_KEY)" http://127.0.0.1:9001/metrics`,
		},
		Action: func(c *cli.Context, e *cmdline.Env) error {
			list, err := variables(c, e)
			if err != nil {
				return err
			}
			if e.JSON {
				doc := map[string]string{}
				for _, v := range list {
					doc[v[0]] = v[1]
				}
				return e.PrintJSON(doc)
			}
			for _, v := range list {
				if _, err := fmt.Fprintf(e.Stdout, "export %s=%s\n", v[0], cmdline.ShellQuote(v[1])); err != nil {
					return err
				}
			}
			return nil
		},
	})
}

// variables are names and values.
func variables(c *cli.Context, e *cmdline.Env) (list [][2]string, err error) {
	d := e.Daemon()
	if d == nil {
		return nil, fmt.Errorf("no daemon serves %s: start one with seussctl serve", e.StateDir)
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	at, err := d.Endpoint(c.Context)
	if err != nil {
		return nil, err
	}
	if at.URL == "" {
		return nil, errors.New("the daemon listens on Unix sockets only, which AWS's clients cannot use: start it with --listen ADDRESS")
	}
	secret := access.NoSecret
	if at.Token {
		secret = e.Getenv(tokenVariable)
		if at.TokenFile != "" {
			if secret, err = readToken(at.TokenFile); err != nil {
				return nil, fmt.Errorf("the daemon's token: %w", err)
			}
		}
		if secret == "" {
			return nil, fmt.Errorf("the daemon got its token in $%s, which this process does not have", tokenVariable)
		}
	}
	return [][2]string{
		{"AWS_ENDPOINT_URL_LAMBDA", at.URL}, {"AWS_REGION", at.Region}, {"AWS_ACCESS_KEY_ID", access.ServiceKey}, {"AWS_SECRET_ACCESS_KEY", secret},
	}, nil
}
