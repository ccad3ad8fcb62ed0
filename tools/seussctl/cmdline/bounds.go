package cmdline

import (
	"fmt"
	"strconv"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"seuss/dispatcher/api"
	"seuss/dispatcher/bounds"
	"seuss/dispatcher/functions"
)

// Words for a bound that is none, and for one that lets nothing through.
const (
	wordAny  = "any"
	wordNone = "none"
)

// BoundsFlags are the flags that say how far a deployment may go.
func BoundsFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "allow-net", Usage: "let the function reach `ENTRY`, of what the daemon allows; may be repeated: HOST:PORT, *.DOMAIN:PORT or CIDR:PORT, or none, or any: all that the daemon allows"},
		&cli.StringFlag{Name: "host-ports", Usage: "comma-separated vsock `PORTS` of the host that the function may reach, of those that the daemon allows; or none, or any"},
		&cli.StringFlag{Name: "share", Usage: "comma-separated `SHARES` of state that the function may reach, each NAME:r or NAME:rw; or none"},
		&cli.StringFlag{Name: "call", Usage: "comma-separated `FUNCTIONS` of the same owner that the function may call, in which * stands for any characters; or none"},
		&cli.StringFlag{Name: "limit-time", Aliases: []string{"timeout"}, Usage: "end an invocation after `DURATION`, in whole seconds; or any: what the daemon allows"},
		&cli.StringFlag{Name: "limit-memory", Aliases: []string{"memory"}, Usage: "end an instance that writes more than `SIZE`, in whole MiB, such as 128MiB; or any: the image's memory"},
		&cli.StringFlag{Name: "limit-output", Usage: "keep at most `SIZE` of an invocation's output, such as 64KiB; or any: 1MiB"},
		&cli.StringFlag{Name: "concurrency", Usage: "run at most `N` invocations of the function at a time; or any"},
	}
}

// ReadBounds makes of these flags what they change; changed is false where there are
// none of them.
func ReadBounds(c *cli.Context) (u api.Update, changed bool, err error) {
	for _, name := range []string{"allow-net", "host-ports", "share", "call", "limit-time", "limit-memory", "limit-output", "concurrency"} {
		if !c.IsSet(name) {
			continue
		}
		changed = true
		text := c.String(name)
		switch name {
		case "allow-net":
			u.Network.To, err = readEntries(c.StringSlice(name))
			u.Network.Set = true
		case "host-ports":
			u.HostPorts.To, err = readPorts(text)
			u.HostPorts.Set = true
		case "share":
			u.Shares.To, err = readNamed(text, func(list []string) *functions.Settings { return &functions.Settings{Shares: list} })
			u.Shares.Set = true
		case "call":
			u.Calls.To, err = readNamed(text, func(list []string) *functions.Settings { return &functions.Settings{Calls: list} })
			u.Calls.Set = true
		case "limit-time":
			u.TimeoutSec, err = readWhole(text, func(text string) (uint64, error) {
				d, err := time.ParseDuration(text)
				if err != nil || d <= 0 || d%time.Second != 0 {
					return 0, fmt.Errorf("want whole seconds, such as 30s, or %s", wordAny)
				}
				return uint64(d / time.Second), nil
			})
		case "limit-memory":
			u.MemoryMiB, err = readWhole(text, func(text string) (uint64, error) {
				n, err := humanize.ParseBytes(text)
				if err != nil || n == 0 || n%(1<<20) != 0 {
					return 0, fmt.Errorf("want whole MiB, such as 128MiB, or %s", wordAny)
				}
				return n >> 20, nil
			})
		case "limit-output":
			u.OutputBytes, err = readWhole(text, func(text string) (uint64, error) {
				n, err := humanize.ParseBytes(text)
				if err != nil || n == 0 || n > bounds.MaxOutputBytes {
					return 0, fmt.Errorf("want a size of 1B to 1MiB, or %s", wordAny)
				}
				return n, nil
			})
		case "concurrency":
			u.Concurrency.Set = true
			if text != wordAny {
				var n int
				if n, err = strconv.Atoi(text); err != nil || n < 0 {
					err = fmt.Errorf("want 0 or more, or %s", wordAny)
				}
				u.Concurrency.To = &n
			}
		}
		if err != nil {
			return u, true, Usagef(c.Command.HelpName, "--%s %s: %w", name, text, err)
		}
	}
	return u, changed, nil
}

// readWhole reads a bound whose 0 is none.
func readWhole(text string, read func(string) (uint64, error)) (api.Change[int], error) {
	if text == wordAny {
		return api.To(0), nil
	}
	n, err := read(text)
	if err == nil && n > 1<<31 {
		err = fmt.Errorf("it is too much")
	}
	return api.To(int(n)), err
}

// readEntries reads a network list; its entries are read where they are deployed.
func readEntries(list []string) ([]string, error) {
	if len(list) == 1 && list[0] == wordAny {
		return nil, nil
	}
	if len(list) == 1 && list[0] == wordNone {
		return []string{}, nil
	}
	if _, err := (&bounds.Outer{}).Of(&functions.Settings{Network: list}); err != nil {
		return nil, err
	}
	return list, nil
}

// readPorts reads a list of ports.
func readPorts(text string) (ports []uint32, err error) {
	switch text {
	case wordAny:
		return nil, nil
	case wordNone:
		return []uint32{}, nil
	}
	list, err := SplitList(text)
	for _, item := range list {
		n, parseErr := strconv.ParseUint(item, 10, 32)
		if parseErr != nil {
			return nil, fmt.Errorf("port %q is no number", item)
		}
		ports = append(ports, uint32(n))
	}
	return ports, err
}

// readNamed reads a list of what a deployment names, which is nothing in its place.
func readNamed(text string, in func(list []string) *functions.Settings) ([]string, error) {
	if text == wordNone {
		return []string{}, nil
	}
	list, err := SplitList(text)
	if err == nil {
		err = bounds.Possible(in(list))
	}
	return list, err
}

// Reach says in a word what a deployment may reach of the network.
func Reach(s *functions.Settings) string {
	switch n := len(s.Network); {
	case s.Network == nil:
		return wordAny
	case n == 0:
		return wordNone
	case n == 1:
		return s.Network[0]
	default:
		return fmt.Sprintf("%s and %d more", s.Network[0], n-1)
	}
}
