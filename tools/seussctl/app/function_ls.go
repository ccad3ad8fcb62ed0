package app

import (
	"context"
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher/api"
	"seuss/lineage"
)

func (e *env) functionLs() *cli.Command {
	return e.command(spec{
		name:     "ls",
		usage:    "list the deployed functions",
		examples: []string{"seussctl function ls"},
		action:   func(c *cli.Context, e *env) error { return e.listFunctions(c.Context) },
	})
}

func (e *env) listFunctions(ctx context.Context) error {
	items, damaged, err := e.functions(ctx)
	if err != nil {
		return err
	}
	if e.json {
		if err := e.printJSON(items); err != nil {
			return err
		}
		return damaged
	}
	t := newTable("NAME", "HANDLER", "ARGUMENTS", "CODE", ">SNAPSHOTS", ">STORED", ">HITS", "DEPLOYED")
	for _, f := range items {
		arguments := "eager"
		if f.Lazy {
			arguments = "lazy"
		}
		t.row(f.Name, f.Handler, arguments, short(f.CodeDigest), fmt.Sprint(f.Nodes), formatBytes(f.StoredBytes), fmt.Sprint(f.Hits), formatTime(f.Deployed))
	}
	if err := t.print(e.stdout); err != nil {
		return err
	}
	return damaged
}

// functions lists what is deployed; damaged says what cannot be read.
func (e *env) functions(ctx context.Context) (list []api.Function, damaged, err error) {
	if d := e.daemon(); d != nil {
		defer func() { err = errors.Join(err, d.Close()) }()
		list, err = d.Functions(ctx)
		return list, nil, err
	}
	list = []api.Function{}
	s, err := e.readStore()
	if s == nil || err != nil {
		return list, nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	deployed, err := deployments(s)
	if err != nil {
		return nil, nil, err
	}
	records, damaged := deployed.List() // the list holds what can be read
	for _, f := range records {
		list = append(list, api.FunctionOf(s, f))
	}
	return list, damaged, nil
}

// functionNames are the completions for a function.
func functionNames(e *env) (names []string) {
	s, err := lineage.Open(e.stateDir, lineage.Options{ReadOnly: true})
	if err != nil {
		return nil
	}
	defer s.Close()
	deployed, err := deployments(s)
	if err != nil {
		return nil
	}
	list, _ := deployed.List() // damaged ones are not offered
	for _, f := range list {
		names = append(names, f.Name)
	}
	return names
}
