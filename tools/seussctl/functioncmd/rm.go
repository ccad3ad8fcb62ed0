package functioncmd

import (
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher"
	"seuss/dispatcher/functions"
	"seuss/lineage"
	"seuss/tools/seussctl/cmdline"
)

func functionRm(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:      "rm",
		ArgsUsage: "NAME",
		Usage:     "remove a function and its snapshots",
		Examples:  []string{"seussctl function rm hello"},
		MinArgs:   1, MaxArgs: 1,
		Complete: cmdline.FunctionNames,
		Action: func(c *cli.Context, e *cmdline.Env) error {
			name := cmdline.FunctionKey(c.Args().First())
			print := func(nodes []string) error {
				return e.PrintRemoved(struct {
					Function string   `json:"function"`
					Nodes    []string `json:"nodes"`
				}{name, nodes}, "removed function %s and %d snapshots", name, len(nodes))
			}
			if d := e.Daemon(); d != nil {
				defer d.Close()
				list, err := d.Snapshots(c.Context)
				if err == nil {
					err = d.RemoveFunction(c.Context, name)
				}
				if err != nil {
					return err
				}
				nodes := []string{}
				for _, n := range list {
					if n.Key.Function == name {
						nodes = append(nodes, n.ID)
					}
				}
				return print(nodes)
			}
			return e.WithStore(func(s *lineage.Store) error {
				nodes, err := removeFunction(s, name)
				if err != nil {
					return err
				}
				return print(nodes)
			})
		},
	})
}

// removeFunction removes a deployment and the nodes of all its code, and
// returns the nodes' ids. The published versions go first and the deployment
// itself next: if removing a node fails, nothing is left that would be captured
// again.
func removeFunction(s *lineage.Store, name string) ([]string, error) {
	deployed, err := cmdline.Deployments(s)
	if err != nil {
		return nil, err
	}
	if _, err := deployed.Get(name); errors.Is(err, lineage.ErrNotFound) {
		return nil, fmt.Errorf("%w: %q", dispatcher.ErrUnknownFunction, name)
	}
	list, _ := deployed.List() // a damaged version has no nodes of its own
	for _, f := range list {
		if f.Name != name && functions.BaseName(f.Name) == name {
			if err := deployed.Remove(f.Name); err != nil {
				return nil, err
			}
		}
	}
	if err := deployed.Remove(name); err != nil {
		return nil, err
	}
	removed := []string{}
	for _, n := range s.Function(name) {
		if _, err := s.Get(n.ID); err != nil {
			continue // went with its parent
		}
		ids := append([]string{n.ID}, cmdline.Descendants(s, n.ID)...)
		if err := s.Remove(n.ID, true); err != nil {
			return removed, err
		}
		removed = append(removed, ids...)
	}
	return removed, nil
}
