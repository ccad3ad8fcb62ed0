package cluster

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"strconv"
	"time"

	"seuss/dispatcher/cluster/bus"
	"seuss/dispatcher/cluster/members"
	"seuss/dispatcher/cluster/peers"
)

// helloTimeout is how long the start waits for those to be heard that this member is connected
// to.
const helloTimeout = 3 * time.Second

// Peers is the straight way to other members.
func (c *Cluster) Peers() *peers.Peers { return c.peers }

// List returns the members, as Members without the rest.
func (c *Cluster) List() []members.Member { return c.table.List() }

// peersAt is where others ask this member.
func (c *Cluster) peersAt() string {
	host, _, _ := bus.Split(c.o.Reached)
	return net.JoinHostPort(cmp.Or(c.o.PeersAt, host), strconv.Itoa(c.peers.Port()))
}

// addressOf is where a member is asked.
func (c *Cluster) addressOf(member string) (string, error) {
	m, err := c.table.Get(member)
	switch {
	case err != nil:
		return "", err
	case m.State == members.Gone:
		return "", fmt.Errorf("it is gone: %w", ErrSilent)
	case m.Peers == "":
		return "", fmt.Errorf("it does not say where it is asked (its release is %s): %w", m.Release, ErrSilent)
	}
	return m.Peers, nil
}

// others lists the members that are here, but for this one.
func (c *Cluster) others() (list []string) {
	for _, m := range c.table.List() {
		if !m.Self && m.State == members.Here && m.Deployed != "" {
			list = append(list, m.Member)
		}
	}
	return list
}

// hello has the others say at once what they have.
func (c *Cluster) hello(ctx context.Context) error {
	end := time.Now().Add(helloTimeout)
	for c.bus.Routes() > len(c.others()) && time.Now().Before(end) {
		if err := c.bus.Conn().Publish(helloSubject, nil); err != nil {
			return fmt.Errorf("cluster: %w", err)
		}
		for range 10 {
			if c.bus.Routes() <= len(c.others()) {
				break
			}
			select {
			case <-time.After(joinPoll):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	}
	return nil
}

func (c *Cluster) closeDeployments() {
	if c.replica != nil {
		c.replica.Close()
	}
}
