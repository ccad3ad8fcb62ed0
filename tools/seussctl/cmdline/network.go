package cmdline

import (
	"github.com/urfave/cli/v2"

	"seuss/dispatcher/outbound"
)

func AllowNetFlag() cli.Flag {
	return &cli.StringSliceFlag{Name: "allow-net", Usage: "let functions connect to `ENTRY`, may be repeated: HOST:PORT, *.DOMAIN:PORT or CIDR:PORT, where PORT may be * (default: nothing)"}
}

// ReadNetwork makes of --allow-net what functions may reach; nil is nothing.
func ReadNetwork(c *cli.Context) (*outbound.Network, error) {
	p, err := outbound.Parse(c.StringSlice("allow-net"))
	if err != nil {
		return nil, Usagef(c.Command.HelpName, "--allow-net %w", err)
	}
	if p == nil {
		return nil, nil
	}
	return outbound.New(p), nil
}

// NoteRefused says what the network did not let a function reach.
func (e *Env) NoteRefused(refused map[string]uint32) {
	if calls := FormatCalls(refused); calls != "" {
		e.Notef("not allowed to reach: %s; see --allow-net", calls)
	}
}
