package app

import (
	"github.com/urfave/cli/v2"

	"seuss/dispatcher/outbound"
)

func allowNetFlag() cli.Flag {
	return &cli.StringSliceFlag{Name: "allow-net", Usage: "let functions connect to `ENTRY`, may be repeated: HOST:PORT, *.DOMAIN:PORT or CIDR:PORT, where PORT may be * (default: nothing)"}
}

// readNetwork makes of --allow-net what functions may reach; nil is nothing.
func readNetwork(c *cli.Context) (*outbound.Network, error) {
	p, err := outbound.Parse(c.StringSlice("allow-net"))
	if err != nil {
		return nil, usagef(c.Command.HelpName, "--allow-net %w", err)
	}
	if p == nil {
		return nil, nil
	}
	return outbound.New(p), nil
}

// noteRefused says what the network did not let a function reach.
func (e *env) noteRefused(refused map[string]uint32) {
	if calls := formatCalls(refused); calls != "" {
		e.notef("not allowed to reach: %s; see --allow-net", calls)
	}
}
