package app

import (
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher/functions"
	"seuss/lineage"
)

func (e *env) functionLs() *cli.Command {
	return e.command(spec{
		name:     "ls",
		usage:    "list the deployed functions",
		examples: []string{"seussctl function ls"},
		action:   func(_ *cli.Context, e *env) error { return e.listFunctions() },
	})
}

// functionItem is a deployment with what its snapshots sum up to.
type functionItem struct {
	functions.Function
	Nodes       int    `json:"nodes"` // function and argument nodes of the deployed code
	StoredBytes uint64 `json:"stored_bytes"`
	Hits        uint64 `json:"hits"`
}

func (e *env) listFunctions() (err error) {
	items := []functionItem{}
	s, err := e.readStore()
	if err != nil {
		return err
	}
	var damaged error
	if s != nil {
		defer func() { err = errors.Join(err, s.Close()) }()
		deployed, err := deployments(s)
		if err != nil {
			return err
		}
		var list []functions.Function
		list, damaged = deployed.List() // the list holds what can be read
		for _, f := range list {
			items = append(items, newFunctionItem(s, f))
		}
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

func newFunctionItem(s *lineage.Store, f functions.Function) functionItem {
	item := functionItem{Function: f}
	for _, n := range s.Function(f.Name) {
		if n.Key.CodeDigest != f.CodeDigest {
			continue // of an earlier deployment
		}
		item.Nodes++
		item.StoredBytes += n.StoredBytes()
		item.Hits += n.Hits()
	}
	return item
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
