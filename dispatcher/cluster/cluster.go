// Package cluster makes this process a member of a cluster: it says of itself each second
// what it has to do, hears the others, and does what they ask of it.
//
// Its parts: cluster/trust tells members from strangers, cluster/bus carries their messages,
// cluster/members knows who is here, cluster/peers is the straight way from one to another,
// cluster/replica has the same deployments on all, cluster/nodes gives snapshots from one to
// another. A cluster's state is what its members say;
// none of them leads.
//
// Units: those of package members. Ownership: a Cluster owns its engine and goroutines until
// Close.
//
// Lock order: Cluster.mu, held while the file is written that says that the member is
// cordoned, and while the others are told; then the table's of package members.
package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"seuss/dispatcher/cluster/bus"
	"seuss/dispatcher/cluster/members"
	"seuss/dispatcher/cluster/nodes"
	"seuss/dispatcher/cluster/peers"
	"seuss/dispatcher/cluster/replica"
	"seuss/dispatcher/cluster/trust"
	"seuss/lineage/sealed"
)

// Errors.
var (
	// ErrNone: the daemon is in no cluster.
	ErrNone = errors.New("this daemon is in no cluster: start it with seussctl serve --cluster")
	// ErrSilent: the member that was asked does not answer.
	ErrSilent = errors.New("the member does not answer")
	// ErrName: a cluster or a member cannot be called so.
	ErrName = errors.New("not a name: want 1 to 63 of A-Z a-z 0-9 _ -, and between them, in a member's, dots")
)

const (
	// joinTimeout is how long the start waits for one of the members that are to be joined.
	joinTimeout = 5 * time.Second
	joinPoll    = 20 * time.Millisecond
	// askTimeout is how long a member has to answer another.
	askTimeout = 3 * time.Second
	// complainEvery keeps a name that is taken from filling the log.
	complainEvery = time.Minute
)

// Subjects of messages.
const (
	beatSubject  = "seuss.beat"
	helloSubject = "seuss.hello" // who has come wants to hear the others now
	knownSubject = "seuss.known"
	askSubject   = "seuss.ask." // and the member's name
)

// cordonedName is the file of a member's folder that is there while it is cordoned.
const cordonedName = "cordoned"

// Options are what a member is started with. All but Reached, PeersAt, Join and Deployments are
// needed.
type Options struct {
	Name    string   // the cluster's
	Member  string   // this member's
	Secret  string   // the cluster's; see package trust
	Listen  string   // HOST:PORT
	Reached string   // HOST:PORT at which others reach it; "": Listen
	Peers   string   // HOST:PORT at which members ask each other straight; port 0: any
	PeersAt string   // host at which others reach Peers; "": that of Reached
	Join    []string // HOST:PORT of members; none: it is the first
	// Deployments are what all members are to have; nil: each has its own.
	Deployments replica.Service
	Dir         string // what it keeps
	Log         *slog.Logger
	// Sample says what there is to do. It is asked each second, and must not wait.
	Sample   func() members.Load
	Release  string
	Platform string
	CPU      members.CPU
}

// Traffic counts invocations: passed on to other members, and run for others.
type Traffic struct{ Passed, Served atomic.Uint64 }

// Cluster is this process as a member.
type Cluster struct {
	Traffic Traffic
	o       Options
	life    uint64
	started time.Time
	table   *members.Table
	bus     *bus.Bus
	peers   *peers.Peers
	replica *replica.Replica // nil: without Options.Deployments
	nodes   atomic.Pointer[nodes.Exchange]
	holding atomic.Pointer[nodes.Holding]

	cordoned, leaving atomic.Bool
	joined            atomic.Bool  // it has told of itself
	complained        atomic.Int64 // when, in seconds of Unix time
	beating, serving  sync.WaitGroup
	known             []string // that are written down; of beats alone
	end               chan struct{}
	ended             sync.Once

	mu sync.Mutex
}

// View is a cluster as one of its members sees it.
type View struct {
	Name    string           `json:"name"`
	Self    string           `json:"self"`
	Routes  int              `json:"routes"` // members that it is connected to
	Members []members.Member `json:"members"`
	// Deployments counts what is deployed on all members, versions among it.
	Deployments int `json:"deployments"`
	// Passed and Served count invocations that this member has passed on, and has run for
	// others, since its start.
	Passed uint64 `json:"passed"`
	Served uint64 `json:"served"`
	// Nodes counts snapshots that went from member to member, since its start.
	Nodes NodeCounts `json:"nodes"`
	// Conflicts are changes that were lost to others that did not know of them.
	Conflicts []replica.Conflict `json:"conflicts,omitempty"`
}

// Join makes this process a member. Where none of the members that it is to join can be
// reached it goes on alone, and tries on.
func Join(ctx context.Context, o Options) (_ *Cluster, err error) {
	if !members.ValidCluster(o.Name) {
		return nil, fmt.Errorf("cluster %.100q: %w", o.Name, ErrName)
	}
	if !members.ValidName(o.Member) {
		return nil, fmt.Errorf("cluster: member %.100q: %w", o.Member, ErrName)
	}
	if o.Reached == "" {
		o.Reached = o.Listen
	}
	authority, err := trust.NewAuthority(o.Name, o.Secret)
	if err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	own, err := authority.Member(o.Member)
	if err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	if err := os.MkdirAll(o.Dir, sealed.DirMode); err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	c := &Cluster{o: o, life: rand.Uint64() | 1, started: time.Now(), end: make(chan struct{})}
	_, err = os.Stat(c.cordonedPath())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	c.cordoned.Store(err == nil)
	c.table = members.NewTable(o.Member, c.life, time.Now)
	c.peers, err = peers.Listen(peers.Options{Member: o.Member, Listen: o.Peers, TLS: own, Address: c.addressOf, Log: o.Log})
	if err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	defer func() {
		if err != nil {
			c.closeDeployments()
			c.peers.Close()
		}
	}()
	if o.Deployments != nil {
		c.replica, err = replica.New(replica.Options{Member: o.Member, Service: o.Deployments, Peers: c.peers, Here: c.others, Patience: members.GoneAfter + members.BeatEvery, Log: o.Log})
		if err != nil {
			return nil, fmt.Errorf("cluster: %w", err)
		}
	}
	o.Join = slices.Clone(o.Join)
	for _, address := range c.readKnown() {
		if !slices.Contains(o.Join, address) {
			o.Join = append(o.Join, address)
		}
	}
	c.bus, err = bus.Start(bus.Options{Cluster: o.Name, Server: fmt.Sprintf("%s-%x", o.Member, c.life), Listen: o.Listen, Reached: o.Reached, Join: o.Join, TLS: own, Log: o.Log})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			c.bus.Close()
		}
	}()
	if len(o.Join) > 0 {
		if err := c.meet(ctx); err != nil {
			return nil, err
		}
	}
	conn := c.bus.Conn()
	for subject, f := range map[string]nats.MsgHandler{beatSubject: c.hear, helloSubject: c.answerHello, knownSubject: c.tellKnown, askSubject + o.Member: c.answer} {
		if _, err := conn.Subscribe(subject, f); err != nil {
			return nil, fmt.Errorf("cluster: %w", err)
		}
	}
	c.serving.Go(c.peers.Serve)
	if c.replica != nil {
		if err := c.hello(ctx); err != nil {
			return nil, err
		}
		if err := c.replica.Join(ctx); err != nil {
			return nil, fmt.Errorf("cluster %q: %w", o.Name, err)
		}
	}
	c.joined.Store(true)
	c.beat(false)
	c.beating.Go(c.beats)
	return c, nil
}

// meet waits for a member, and refuses to have another one's name.
func (c *Cluster) meet(ctx context.Context) error {
	end := time.Now().Add(joinTimeout)
	for c.bus.Routes() == 0 {
		if time.Now().After(end) {
			c.o.Log.Warn("none of the cluster's members is reached; it goes on alone and tries on", "join", c.o.Join)
			return nil
		}
		select {
		case <-time.After(joinPoll):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	// Whoever is reached knows who has the name; that its engine is asked takes a moment.
	for {
		known, err := c.askKnown(ctx)
		switch {
		case err == nil && known.State == members.Here && known.Address != c.o.Reached:
			return fmt.Errorf("cluster: %s, which runs at %s: %w: give this one another with --member", c.o.Member, known.Address, members.ErrTaken)
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case time.Now().After(end):
			c.o.Log.Warn("a member is reached and does not answer; this one goes on", "error", err)
			return nil
		}
		time.Sleep(joinPoll)
	}
}

// knownAs is what a member knows of a name.
type knownAs struct {
	Address string        `json:"address"`
	State   members.State `json:"state"` // "": nobody has it
}

// askKnown asks whoever answers first who has this member's name.
func (c *Cluster) askKnown(ctx context.Context) (known knownAs, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	m, err := c.bus.Conn().RequestWithContext(ctx, knownSubject, []byte(c.o.Member))
	if err != nil {
		return known, err
	}
	return known, json.Unmarshal(m.Data, &known)
}

// tellKnown answers it.
func (c *Cluster) tellKnown(m *nats.Msg) {
	var k knownAs
	if of, err := c.table.Get(string(m.Data)); err == nil {
		k = knownAs{of.Address, of.State}
	}
	out, err := json.Marshal(k)
	if err == nil {
		err = m.Respond(out)
	}
	if err != nil {
		c.complain(err)
	}
}

// beats says each second that this member is here.
func (c *Cluster) beats() {
	tick := time.NewTicker(members.BeatEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			c.beat(false)
			c.writeKnown()
		case <-c.end:
			return
		}
	}
}

// answerHello tells of this member at once.
func (c *Cluster) answerHello(*nats.Msg) {
	if c.joined.Load() {
		c.beat(true)
	}
}

// beat tells of this member; all: whoever hears it may know nothing of it.
func (c *Cluster) beat(all bool) {
	b := members.Beat{
		Member: c.o.Member, Life: c.life, Address: c.o.Reached, Release: c.o.Release, Platform: c.o.Platform, CPU: c.o.CPU,
		Peers: c.peersAt(), Started: c.started.UTC(), Cordoned: c.cordoned.Load(), Leaving: c.leaving.Load(), Load: c.o.Sample(),
	}
	if c.replica != nil {
		b.Deployed = c.replica.Sum()
	}
	if h := c.holding.Load(); h != nil {
		b.Held = h.Beat(all)
	}
	if err := c.table.Hear(&b); err != nil {
		c.complain(err)
	}
	message, err := b.Encode()
	if err == nil {
		err = c.bus.Conn().Publish(beatSubject, message)
	}
	if err != nil {
		c.complain(err)
	}
}

func (c *Cluster) hear(m *nats.Msg) {
	b, err := members.Decode(m.Data)
	if err == nil {
		if b.Member == c.o.Member && b.Life == c.life {
			return // its own
		}
		if err = c.table.Hear(b); err == nil && c.replica != nil && !b.Leaving {
			c.replica.Hear(b.Member, b.Deployed)
		}
	}
	if err != nil {
		c.complain(err)
	}
}

// complain logs what is wrong, now and then.
func (c *Cluster) complain(err error) {
	now := time.Now().Unix()
	if last := c.complained.Load(); now-last >= int64(complainEvery/time.Second) && c.complained.CompareAndSwap(last, now) {
		c.o.Log.Error("cluster", "error", err)
	}
}

// What a member may be asked.
type asked string

const (
	askCordon   asked = "cordon"
	askUncordon asked = "uncordon"
)

// answerOf is a member's answer.
type answerOf struct {
	Error string `json:"error,omitempty"`
}

// ask asks a member. The error matches ErrSilent where it does not answer.
func (c *Cluster) ask(ctx context.Context, member string, what asked) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	m, err := c.bus.Conn().RequestWithContext(ctx, askSubject+member, []byte(what))
	if err != nil {
		return fmt.Errorf("member %q: %w: %w", member, ErrSilent, err)
	}
	var answer answerOf
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return fmt.Errorf("member %q: its answer: %w", member, err)
	}
	if answer.Error != "" {
		return fmt.Errorf("member %q: %s", member, answer.Error)
	}
	return nil
}

func (c *Cluster) answer(m *nats.Msg) {
	var a answerOf
	var err error
	switch what := asked(m.Data); what {
	case askCordon, askUncordon:
		err = c.setCordoned(what == askCordon)
	default:
		err = fmt.Errorf("%s does not know how to %.40q: it is of release %s", c.o.Member, what, c.o.Release)
	}
	if err != nil {
		a.Error = err.Error()
	}
	out, err := json.Marshal(a)
	if err == nil {
		err = m.Respond(out)
	}
	if err != nil {
		c.complain(err)
	}
}

func (c *Cluster) cordonedPath() string { return filepath.Join(c.o.Dir, cordonedName) }

// setCordoned has it written before anybody is told.
func (c *Cluster) setCordoned(on bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cordoned.Load() == on {
		return nil
	}
	files := sealed.OS()
	var err error
	if on {
		err = files.WriteFile(c.cordonedPath(), nil)
	} else {
		err = files.Delete(c.cordonedPath())
	}
	if err != nil {
		return fmt.Errorf("cordon: %w", err)
	}
	c.cordoned.Store(on)
	c.o.Log.Info("cluster: this member is cordoned, or no longer", "cordoned", on)
	c.beat(false)
	return nil
}

// Members returns the cluster as this member sees it.
func (c *Cluster) Members() View {
	v := View{Name: c.o.Name, Self: c.o.Member, Routes: c.bus.Routes(), Members: c.table.List(), Passed: c.Traffic.Passed.Load(), Served: c.Traffic.Served.Load()}
	if c.replica != nil {
		v.Deployments, v.Conflicts = c.replica.Count(), c.replica.Conflicts()
	}
	v.Nodes = c.nodeCounts()
	return v
}

// Cordoned reports whether this member is to get nothing new.
func (c *Cluster) Cordoned() bool { return c.cordoned.Load() }

// Cordon has a member get nothing new, or again. It stays so when the member is started
// again. Only the member itself can, so it must be here.
func (c *Cluster) Cordon(ctx context.Context, member string, on bool) error {
	if _, err := c.table.Get(member); err != nil {
		return err
	}
	what := askUncordon
	if on {
		what = askCordon
	}
	return c.ask(ctx, member, what)
}

// Leave tells the others that this member is about to end.
func (c *Cluster) Leave() {
	c.leaving.Store(true)
	c.beat(false)
}

// Close ends the membership.
func (c *Cluster) Close() {
	c.ended.Do(func() {
		c.Leave()
		if err := c.bus.Conn().FlushTimeout(time.Second); err != nil {
			c.o.Log.Debug("cluster: the others may not know yet that this member leaves", "error", err)
		}
		close(c.end)
		c.beating.Wait()
		c.closeDeployments()
		c.peers.Close()
		c.serving.Wait()
		c.bus.Close()
	})
}
