package doctor

import (
	"context"
	"errors"
	"strings"
	"testing"

	"seuss/dispatcher/cluster"
	"seuss/dispatcher/cluster/members"
)

// TestCluster: what is seen of a cluster is judged, and a daemon in none has no line.
func TestCluster(t *testing.T) {
	beat := func(name string) members.Beat { return members.Beat{Member: name, Release: "1", Platform: "kvm"} }
	whole := cluster.View{Name: "c", Self: "a", Routes: 1, Members: []members.Member{{Beat: beat("a"), State: members.Here, Self: true}, {Beat: beat("b"), State: members.Here}}}
	change := func(edit func(*cluster.View)) cluster.View {
		v := whole
		v.Members = append([]members.Member{}, whole.Members...)
		edit(&v)
		return v
	}
	for want, v := range map[string]cluster.View{
		"one of 2 members that are here": whole,
		"gone: b":                        change(func(v *cluster.View) { v.Members[1].State = members.Gone }),
		"cordoned: b":                    change(func(v *cluster.View) { v.Members[1].Cordoned = true }),
		"or processor than this one: b":  change(func(v *cluster.View) { v.Members[1].CPU.Flags = "other" }),
		"connected to none of them":      change(func(v *cluster.View) { v.Routes = 0 }),
	} {
		h := Host{Cluster: func(context.Context) (cluster.View, error) { return v, nil }}
		checks := h.cluster(t.Context())
		if len(checks) != 1 || !strings.Contains(checks[0].Detail, want) || (checks[0].Status == OK) != (checks[0].Fix == "") {
			t.Errorf("%q: %+v", want, checks)
		}
	}
	none := Host{Cluster: func(context.Context) (cluster.View, error) { return cluster.View{}, cluster.ErrNone }}
	if checks := append(none.cluster(t.Context()), (&Host{}).cluster(t.Context())...); len(checks) != 0 {
		t.Error(checks)
	}
	silent := Host{Cluster: func(context.Context) (cluster.View, error) { return cluster.View{}, errors.New("silent") }}
	if checks := silent.cluster(t.Context()); len(checks) != 1 || checks[0].Status != Warning {
		t.Error(checks)
	}
}
