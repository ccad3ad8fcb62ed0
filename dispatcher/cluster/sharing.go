package cluster

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"seuss/dispatcher/cluster/bus"
	"seuss/dispatcher/cluster/held"
	"seuss/dispatcher/cluster/members"
	"seuss/dispatcher/cluster/nodes"
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

// ShareNodes has this member give its snapshots to others, and fetch theirs: what it returns does.
// It is called once.
func (c *Cluster) ShareNodes(service nodes.Service, spool string, free func(dir string) (free, all uint64, err error)) *nodes.Exchange {
	x := nodes.New(nodes.Options{Service: service, Peers: c.peers, Holders: c.holders, Spool: spool, Free: free, Log: c.o.Log})
	c.nodes.Store(x)
	c.holding.Store(nodes.NewHolding(service.Store()))
	return x
}

// holders lists the other members that say that they hold something, the idlest first.
func (c *Cluster) holders(k held.Key) (list []string) {
	all := slices.DeleteFunc(c.table.List(), func(m members.Member) bool {
		return m.Self || m.State == members.Gone || m.Peers == "" || !m.Holds.Has(k)
	})
	slices.SortFunc(all, func(a, b members.Member) int { return cmp.Compare(a.Load.Running, b.Load.Running) })
	for i := range all {
		list = append(list, all[i].Member)
	}
	return list
}

// NodeCounts counts snapshots that went from member to member.
type NodeCounts struct {
	Fetched      uint64 `json:"fetched"` // nodes that came
	FetchedBytes uint64 `json:"fetched_bytes"`
	Given        uint64 `json:"given"` // files
	GivenBytes   uint64 `json:"given_bytes"`
	Failed       uint64 `json:"failed"` // functions whose snapshots were fetched in vain
}

func (c *Cluster) nodeCounts() (n NodeCounts) {
	if x := c.nodes.Load(); x != nil {
		of := &x.Counts
		n = NodeCounts{of.Fetched.Load(), of.FetchedBytes.Load(), of.Given.Load(), of.GivenBytes.Load(), of.Failed.Load()}
	}
	return n
}

func (c *Cluster) closeDeployments() {
	if c.replica != nil {
		c.replica.Close()
	}
}
