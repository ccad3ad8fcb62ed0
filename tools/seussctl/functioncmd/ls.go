package functioncmd

import (
	"context"
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher/api"
	"seuss/tools/seussctl/cmdline"
)

func functionLs(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:     "ls",
		Usage:    "list the deployed functions",
		Examples: []string{"seussctl function ls"},
		Action:   func(c *cli.Context, e *cmdline.Env) error { return listFunctions(c.Context, e) },
	})
}

func listFunctions(ctx context.Context, e *cmdline.Env) error {
	items, damaged, err := deployed(ctx, e)
	if err != nil {
		return err
	}
	if e.JSON {
		if err := e.PrintJSON(items); err != nil {
			return err
		}
		return damaged
	}
	t := cmdline.NewTable("NAME", "HANDLER", "ARGUMENTS", "CODE", "NETWORK", ">SNAPSHOTS", ">STORED", ">HITS", "DEPLOYED")
	for _, f := range items {
		arguments := "eager"
		if f.Lazy {
			arguments = "lazy"
		}
		t.Row(f.Name, f.Handler, arguments, cmdline.Short(f.CodeDigest), cmdline.Reach(&f.Settings), fmt.Sprint(f.Nodes), cmdline.FormatBytes(f.StoredBytes), fmt.Sprint(f.Hits), cmdline.FormatTime(f.Deployed))
	}
	if err := t.Print(e.Stdout); err != nil {
		return err
	}
	return damaged
}

// deployed lists what is deployed; damaged says what cannot be read.
func deployed(ctx context.Context, e *cmdline.Env) (list []api.Function, damaged, err error) {
	list = []api.Function{}
	err = e.Reading(func(r cmdline.Reader) error {
		found, err := r.Functions(ctx)
		if found == nil {
			return err
		}
		list, damaged = found, err
		return nil
	})
	if errors.Is(err, cmdline.ErrNothing) {
		err = nil
	}
	return list, damaged, err
}
