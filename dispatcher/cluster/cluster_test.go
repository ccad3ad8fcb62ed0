package cluster

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"seuss/dispatcher/cluster/bus"
	"seuss/dispatcher/cluster/members"
	"seuss/dispatcher/cluster/trust"
)

// freeAddress is one on loopback that nobody listens at.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func optionsOf(t *testing.T, secret, name string, join ...string) Options {
	t.Helper()
	return Options{
		Name: "test", Member: name, Secret: secret, Listen: freeAddress(t), Peers: "127.0.0.1:0", Join: join, Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler),
		Sample: func() members.Load { return members.Load{Slots: 4} }, Release: "1", Platform: "fake",
	}
}

func join(t *testing.T, o Options) *Cluster {
	t.Helper()
	c, err := Join(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// until waits for what must come.
func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !f(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

func stateOf(c *Cluster, name string) (m members.Member) {
	m, _ = c.table.Get(name)
	return m
}

// TestThree: members find each other through any of them, are cordoned from any, stay so when
// they come back, leave, and a name is taken once.
func TestThree(t *testing.T) {
	t.Parallel()
	secret := trust.NewSecret()
	a := join(t, optionsOf(t, secret, "a"))
	ofB := optionsOf(t, secret, "b", a.o.Listen)
	b := join(t, ofB)
	c := join(t, optionsOf(t, secret, "c", b.o.Listen))
	for _, from := range []*Cluster{a, b, c} {
		until(t, from.o.Member+" sees three", func() bool {
			v := from.Members()
			return v.Routes == 2 && len(v.Members) == 3 && v.Members[0].Usable() && v.Members[1].Usable() && v.Members[2].Usable()
		})
	}
	until(t, "a second b is refused", func() bool { // a, if it has not heard b for long, does not know
		second, err := Join(t.Context(), optionsOf(t, secret, "b", a.o.Listen))
		if err == nil {
			second.Close()
		}
		return errors.Is(err, members.ErrTaken)
	})
	if err := a.Cordon(t.Context(), "b", true); err != nil {
		t.Fatal(err)
	}
	until(t, "c sees that b is cordoned", func() bool { return stateOf(c, "b").Cordoned })
	if err := a.Cordon(t.Context(), "nobody", true); !errors.Is(err, members.ErrUnknown) {
		t.Error(err)
	}
	ofA := a.o
	a.Close() // which was told of nobody when it was started
	ofA.Join = nil
	until(t, "b and c know of each other when they are started again", func() bool {
		return len(b.readKnown()) > 0 && slices.Contains(b.readKnown(), c.o.Reached)
	})
	a = join(t, ofA)
	until(t, "a finds the others again", func() bool { return len(a.others()) == 0 && a.Members().Routes == 2 })
	until(t, "b hears a again", func() bool { return stateOf(b, "a").State == members.Here })
	until(t, "a hears b again", func() bool { return stateOf(a, "b").State == members.Here })
	b.Close()
	until(t, "c sees that b leaves", func() bool { s := stateOf(c, "b").State; return s == members.Leaving || s == members.Gone })
	if err := a.Cordon(t.Context(), "b", false); !errors.Is(err, ErrSilent) {
		t.Error(err)
	}
	b = join(t, ofB)
	if !b.Cordoned() {
		t.Error("it is not cordoned any more after it has come back")
	}
	until(t, "c sees b again", func() bool { m := stateOf(c, "b"); return m.State == members.Here && m.Cordoned })
	if err := c.Cordon(t.Context(), "b", false); err != nil || b.Cordoned() {
		t.Error(err)
	}
}

// TestStrangersStayOutside: who has another secret is no member, on loopback neither, and
// nobody hears of him; the member goes on alone.
func TestStrangersStayOutside(t *testing.T) {
	t.Parallel()
	a := join(t, optionsOf(t, trust.NewSecret(), "a"))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	o := optionsOf(t, trust.NewSecret(), "stranger", a.o.Listen)
	var log strings.Builder
	o.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelError + 1}))
	s, err := Join(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if v := s.Members(); v.Routes != 0 || len(v.Members) != 1 {
		t.Errorf("the stranger sees %+v", v)
	}
	if v := a.Members(); v.Routes != 0 || len(v.Members) != 1 {
		t.Errorf("the member sees %+v", v)
	}
}

// TestRefusedByName: names, addresses and secrets.
func TestRefusedByName(t *testing.T) {
	secret := trust.NewSecret()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for what, c := range map[string]struct {
		change func(*Options)
		want   error
	}{
		"a name":            {func(o *Options) { o.Member = "a..b" }, ErrName},
		"a cluster's name":  {func(o *Options) { o.Name = "a.b" }, ErrName},
		"no port":           {func(o *Options) { o.Listen = "127.0.0.1" }, bus.ErrAddress},
		"any port":          {func(o *Options) { o.Listen = "127.0.0.1:0" }, bus.ErrAddress},
		"a wrong join":      {func(o *Options) { o.Join = []string{"here"} }, bus.ErrAddress},
		"no secret":         {func(o *Options) { o.Secret = "" }, trust.ErrSecret},
		"an address in use": {func(o *Options) { o.Listen = taken.Addr().String() }, nil},
	} {
		o := optionsOf(t, secret, "a")
		c.change(&o)
		if got, err := Join(t.Context(), o); err == nil {
			got.Close()
			t.Errorf("%s is taken", what)
		} else if c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
