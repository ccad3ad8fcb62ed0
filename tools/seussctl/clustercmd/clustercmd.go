// Package clustercmd has the commands about the cluster that the daemon is in. It keeps no
// state.
package clustercmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher/cluster/members"
	"seuss/dispatcher/cluster/trust"
	"seuss/dispatcher/http/native/client"
	"seuss/tools/seussctl/cmdline"
)

const (
	// lookEvery is how often drain looks.
	lookEvery = time.Second
	// silent is how long it waits for a member that is not heard, which may only be busy.
	silent = 30 * time.Second
)

var errNoDaemon = errors.New("no daemon serves this state directory: start seussctl serve --cluster")

// ClusterGroup assembles what can be done with a cluster.
func ClusterGroup(e *cmdline.Env) *cli.Command {
	return e.Group("cluster", "the cluster that the daemon is in", secret(e), ls(e), show(e),
		cordon(e, true), cordon(e, false), drain(e))
}

// with runs f with the daemon's cluster.
func with(e *cmdline.Env, f func(client.Cluster) error) (err error) {
	d := e.Daemon()
	if d == nil {
		return errNoDaemon
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	return f(d.Cluster)
}

func secret(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name: "secret", ArgsUsage: "FILE", MinArgs: 1, MaxArgs: 1,
		Usage: "make a cluster's secret",
		Description: `
Writes a new secret to a file, which must not be there yet. Every member is given it,
with --cluster-secret: who has it is a member.`,
		Examples: []string{"seussctl cluster secret ~/cluster.secret"},
		Action: func(c *cli.Context, e *cmdline.Env) error {
			f, err := os.OpenFile(c.Args().First(), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
			if err != nil {
				return fmt.Errorf("secret: %w", err)
			}
			_, err = io.WriteString(f, trust.NewSecret()+"\n")
			if err = errors.Join(err, f.Close()); err != nil || !e.JSON {
				return err
			}
			return e.PrintJSON(map[string]string{"file": c.Args().First()})
		},
	})
}

func ls(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:  "ls",
		Usage: "list the members",
		Description: `
STATE is here, leaving (it is about to end) or gone, which a member is that was not
heard for 4 seconds; cordoned is one that is to get nothing new. RUNNING is of as many
invocations as may run at a time, WAITING counts those that are parked too, AVAILABLE is of
its memory.`,
		Examples: []string{"seussctl cluster ls", "seussctl cluster ls --json"},
		Action: func(c *cli.Context, e *cmdline.Env) error {
			return with(e, func(of client.Cluster) error {
				v, err := of.Members(c.Context)
				if err != nil {
					return err
				}
				if e.JSON {
					return e.PrintJSON(v)
				}
				t := cmdline.NewTable("HOST", "STATE", "ADDRESS", ">RUNNING", ">WAITING", ">MACHINES", ">AVAILABLE", ">HEARD", "RELEASE")
				for _, m := range v.Members {
					name := cmdline.Printable(m.Member)
					if m.Self {
						name += " *"
					}
					t.Row(name, stateOf(&m), cmdline.Printable(m.Address), fmt.Sprintf("%d/%d", m.Load.Running, m.Load.Slots), strconv.Itoa(m.Load.Waiting),
						strconv.Itoa(m.Load.Machines), cmdline.FormatBytes(m.Load.Available), heard(&m), cmdline.Printable(m.Release))
				}
				return t.Print(e.Stdout)
			})
		},
	})
}

func stateOf(m *members.Member) string {
	if m.Cordoned {
		return string(m.State) + ", cordoned"
	}
	return string(m.State)
}

func heard(m *members.Member) string {
	return cmdline.FormatDuration(time.Duration(m.SilentMS) * time.Millisecond)
}

// find returns a member.
func find(ctx context.Context, of client.Cluster, host string) (members.Member, error) {
	v, err := of.Members(ctx)
	if err != nil {
		return members.Member{}, err
	}
	for _, m := range v.Members {
		if m.Member == host {
			return m, nil
		}
	}
	return members.Member{}, fmt.Errorf("%w: %q: 'seussctl cluster ls' lists them", members.ErrUnknown, host)
}

func show(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name: "show", ArgsUsage: "HOST", MinArgs: 1, MaxArgs: 1,
		Usage:    "describe a member",
		Examples: []string{"seussctl cluster show host2"},
		Action: func(c *cli.Context, e *cmdline.Env) error {
			return with(e, func(of client.Cluster) error {
				m, err := find(c.Context, of, c.Args().First())
				if err != nil {
					return err
				}
				if e.JSON {
					return e.PrintJSON(m)
				}
				l := &m.Load
				t := cmdline.NewTable("WHAT", "IS")
				for _, row := range [][2]string{
					{"host", m.Member}, {"state", stateOf(&m)}, {"heard", heard(&m) + " ago"}, {"address", m.Address},
					{"release", m.Release}, {"platform", m.Platform}, {"processor", m.CPU.Name}, {"its features", cmp.Or(m.CPU.Flags, "none")},
					{"started", cmdline.FormatTime(m.Started)},
					{"running", fmt.Sprintf("%d of %d, %d wait", l.Running, l.Slots, l.Waiting)},
					{"machines", fmt.Sprintf("%d, of which %d are free", l.Machines, l.Free)},
					{"instances", strconv.Itoa(l.Instances)},
					{"memory", cmdline.FormatBytes(l.Available) + " of " + cmdline.FormatBytes(l.Memory) + " available"},
				} {
					t.Row(row[0], cmdline.Printable(row[1]))
				}
				return t.Print(e.Stdout)
			})
		},
	})
}

// cordoned is the document of cordon and uncordon.
type cordoned struct {
	Member   string `json:"member"`
	Cordoned bool   `json:"cordoned"`
}

func cordon(e *cmdline.Env, on bool) *cli.Command {
	s := cmdline.Spec{
		Name: "cordon", ArgsUsage: "HOST", MinArgs: 1, MaxArgs: 1,
		Usage: "have a member get nothing new",
		Description: `
The member says so to the others, and whoever asks it whether it is ready (GET /readyz) is
told that it is not, so that what stands before the members sends it nothing. What reaches
it all the same it passes on, or runs where no other member can. It stays cordoned when it
is started again.`,
		Examples: []string{"seussctl cluster cordon host2"},
	}
	if !on {
		s.Name, s.Usage, s.Description = "uncordon", "have a member get something again", ""
		s.Examples = []string{"seussctl cluster uncordon host2"}
	}
	s.Action = func(c *cli.Context, e *cmdline.Env) error {
		return with(e, func(of client.Cluster) error {
			host := c.Args().First()
			if err := of.Cordon(c.Context, host, on); err != nil || !e.JSON {
				return err
			}
			return e.PrintJSON(cordoned{host, on})
		})
	}
	return e.Command(s)
}

func drain(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name: "drain", ArgsUsage: "HOST", MinArgs: 1, MaxArgs: 1,
		Usage: "cordon a member, and wait until nothing runs there",
		Description: `
Then it can be ended and nobody's invocation is. Instances that live on stay where they
are: a remark says how many there are.`,
		Examples: []string{"seussctl cluster drain host2 --timeout 5m"},
		Flags:    []cli.Flag{&cli.DurationFlag{Name: "timeout", Value: 10 * time.Minute, Usage: "wait for `TIME` at most; it stays cordoned"}},
		Action: func(c *cli.Context, e *cmdline.Env) error {
			return with(e, func(of client.Cluster) error { return drainHost(c, e, of) })
		},
	})
}

func drainHost(c *cli.Context, e *cmdline.Env, of client.Cluster) error {
	if c.Duration("timeout") <= 0 {
		return cmdline.Usagef(c.Command.HelpName, "--timeout %v: must be more than 0", c.Duration("timeout"))
	}
	ctx, cancel := context.WithTimeout(c.Context, c.Duration("timeout"))
	defer cancel()
	host := c.Args().First()
	if err := of.Cordon(ctx, host, true); err != nil {
		return err
	}
	for {
		// What it said before it was cordoned counts for nothing.
		select {
		case <-time.After(members.BeatEvery + lookEvery):
		case <-ctx.Done():
		}
		m, err := find(c.Context, of, host)
		switch {
		case err != nil:
			return err
		case m.State == members.Leaving, m.SilentMS > silent.Milliseconds():
			return fmt.Errorf("drain: %s is %s: %d ran and %d waited when it was heard last", host, m.State, m.Load.Running, m.Load.Waiting)
		case m.State == members.Here && m.Cordoned && m.Load.Running == 0 && m.Load.Waiting == 0:
			if n := m.Load.Instances; n > 0 {
				e.Notef("%s has %d instances that live on: they stay there", host, n)
			}
			if e.JSON {
				return e.PrintJSON(m)
			}
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("drain: %s is cordoned; %d still run and %d wait there: %w", host, m.Load.Running, m.Load.Waiting, ctx.Err())
		}
	}
}
