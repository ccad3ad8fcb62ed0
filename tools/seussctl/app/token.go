package app

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher/access"
	"seuss/dispatcher/functions"
	"seuss/tools/seussctl/cmdline"
)

func tokenCreate(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:      "create",
		ArgsUsage: "NAME",
		Usage:     "make a token for a client, and print its secret",
		Description: `
The secret is printed once, on stdout. A client sends it as a bearer token. With
--sign AWS's clients may sign with it too: the token's name is their access key id,
the secret their secret access key. Of a token that signs the secret itself is kept
in the state directory, of others its digest only.

What a token deploys belongs to its owner, and so do the names: two owners may each
have a function hello. Without --functions its rights are about all functions of its
owner; with them, about those that a pattern names, of other owners too.

A daemon takes it at once.`,
		Examples: []string{
			"seussctl token create ci --owner alice --rights deploy,read",
			"seussctl token create shop --owner alice --rights invoke --functions 'shop-*' --sign",
			"seussctl token create prometheus --rights read --functions '*/*'",
		},
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "owner", Value: functions.DefaultOwner, Usage: "`NAME` of whom it acts for"},
			&cli.StringFlag{Name: "rights", Value: "invoke,read,deploy", Usage: "comma-separated `RIGHTS`: " + strings.Join(access.RightNames(), ", ")},
			&cli.StringSliceFlag{Name: "functions", Usage: "`PATTERN` of functions that its rights are about, may be repeated: NAME, OWNER/NAME or */NAME, where * in a name stands for any characters"},
			&cli.BoolFlag{DisableDefaultText: true, Name: "sign", Usage: "let AWS's clients sign with it"},
		},
		MinArgs: 1, MaxArgs: 1,
		Action: func(c *cli.Context, e *cmdline.Env) error {
			rights, err := cmdline.SplitList(c.String("rights"))
			if err != nil {
				return cmdline.Usagef(c.Command.HelpName, "--rights %q: %w", c.String("rights"), err)
			}
			t := access.Token{Name: c.Args().First(), Owner: c.String("owner"), Rights: rights, Functions: c.StringSlice("functions"), Created: time.Now().UTC().Round(0)}
			secret := access.NewSecret()
			t.Seal(secret, c.Bool("sign"))
			if err := editAccess(e, func(f *access.File) error { return f.Add(t) }); err != nil {
				return err
			}
			// Before the daemon is asked, whose failure would leave a token with a secret
			// that nobody knows, and so would one of stdout's.
			if e.JSON {
				err = e.PrintJSON(struct {
					shownToken
					Secret string `json:"secret"`
				}{showToken(&t), secret})
			} else {
				_, err = fmt.Fprintln(e.Stdout, secret)
			}
			if err != nil {
				return fmt.Errorf("the secret could not be printed, and the token %s is taken back: %w", t.Name,
					errors.Join(err, editAccess(e, func(f *access.File) error { return f.Remove(t.Name) })))
			}
			return e.RefreshDaemon(c.Context)
		},
	})
}

// shownToken is a token without its secret.
type shownToken struct {
	Name      string    `json:"name"`
	Owner     string    `json:"owner"`
	Account   string    `json:"account"`
	Rights    []string  `json:"rights"`
	Functions []string  `json:"functions,omitempty"`
	Signs     bool      `json:"signs"`
	Created   time.Time `json:"created"`
}

func showToken(t *access.Token) shownToken {
	return shownToken{t.Name, t.Owner, access.AccountOf(t.Owner), t.Rights, t.Functions, t.Secret != "", t.Created}
}

func tokenLs(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:     "ls",
		Usage:    "list the tokens, without their secrets",
		Examples: []string{"seussctl token ls"},
		Action: func(_ *cli.Context, e *cmdline.Env) error {
			f, err := access.ReadFile(e.StateDir)
			if err != nil {
				return err
			}
			list := []shownToken{}
			table := cmdline.NewTable("NAME", "OWNER", "ACCOUNT", "RIGHTS", "FUNCTIONS", "SIGNS", "CREATED")
			for i := range f.Tokens {
				t := showToken(&f.Tokens[i])
				list = append(list, t)
				of := "its owner's"
				if len(t.Functions) > 0 {
					of = strings.Join(t.Functions, ", ")
				}
				table.Row(t.Name, t.Owner, t.Account, strings.Join(t.Rights, ","), of, map[bool]string{true: "yes", false: "no"}[t.Signs], cmdline.FormatTime(t.Created))
			}
			if e.JSON {
				return e.PrintJSON(list)
			}
			return table.Print(e.Stdout)
		},
	})
}

func tokenRm(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:        "rm",
		ArgsUsage:   "NAME",
		Usage:       "take a token back",
		Description: "\nWhat it has deployed stays its owner's.",
		Examples:    []string{"seussctl token rm ci"},
		MinArgs:     1, MaxArgs: 1,
		Complete: func(e *cmdline.Env) (names []string) {
			f, err := access.ReadFile(e.StateDir)
			if err != nil {
				return nil
			}
			for _, t := range f.Tokens {
				names = append(names, t.Name)
			}
			return names
		},
		Action: func(c *cli.Context, e *cmdline.Env) error {
			name := c.Args().First()
			if err := changeAccess(c.Context, e, func(f *access.File) error { return f.Remove(name) }); err != nil {
				return err
			}
			return e.PrintRemoved(map[string]string{"token": name}, "removed token %s", name)
		},
	})
}

// editAccess changes who may do what, which a daemon sees a second later at the latest.
func editAccess(e *cmdline.Env, edit func(*access.File) error) error {
	if err := e.MakeState(); err != nil {
		return err
	}
	return access.Change(e.StateDir, edit)
}

// changeAccess is editAccess that has a daemon take it over at once.
func changeAccess(ctx context.Context, e *cmdline.Env, edit func(*access.File) error) error {
	if err := editAccess(e, edit); err != nil {
		return err
	}
	return e.RefreshDaemon(ctx)
}
