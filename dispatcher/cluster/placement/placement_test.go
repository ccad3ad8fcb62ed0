package placement

import (
	"fmt"
	"testing"

	"seuss/dispatcher/cluster/held"
	"seuss/dispatcher/cluster/members"
)

func list(n int) (all []members.Member) {
	for i := range n {
		all = append(all, members.Member{State: members.Here, Beat: members.Beat{Member: fmt.Sprint("m", i), Peers: "127.0.0.1:1", Load: members.Load{Slots: 4}}})
	}
	return all
}

// TestChoice: a function goes to the same members as long as they have room, then to others;
// nothing goes to who is cordoned, gone, this member itself, or was tried.
func TestChoice(t *testing.T) {
	all := list(100)
	all[1].Cordoned, all[2].State, all[3].Self, all[4].Peers = true, members.Gone, true, ""
	sent := new(Sent)
	table := New(all, sent)
	if table.Len() != 96 {
		t.Fatalf("%d members", table.Len())
	}
	seen := map[string]bool{}
	for range 4 {
		m, free := table.Choose("f", "")
		if !free {
			t.Errorf("%s has no room", m)
		}
		sent.Add(m)
		seen[m] = true
	}
	if len(seen) > homes {
		t.Errorf("4 went to %d members: %v", len(seen), seen)
	}
	for range 96 * 4 {
		m, _ := table.Choose("f", "")
		sent.Add(m)
		seen[m] = true
	}
	if len(seen) < 50 || seen["m1"] || seen["m2"] || seen["m3"] || seen["m4"] {
		t.Errorf("went to %d members", len(seen))
	}
	few := New(list(2), new(Sent))
	for range 100 {
		if m, _ := few.Choose("f", "", "m0"); m != "m1" {
			t.Fatalf("%q", m)
		}
	}
	if m, _ := few.Choose("f", "", "m0", "m1"); m != "" {
		t.Errorf("%q was tried", m)
	}
	full := list(2)
	full[0].Load.Running, full[1].Load.Running = 4, 5
	if m, free := New(full, new(Sent)).Choose("f", ""); m == "" || free {
		t.Errorf("%q, %v", m, free)
	}
}

// TestWhoHoldsItIsChosen: of a hundred members the one that holds a function's snapshot, wherever
// it is, as long as it has room; and never for other code, or one that is parked full.
func TestWhoHoldsItIsChosen(t *testing.T) {
	for at := range 100 {
		all := list(100)
		all[at].Holds = held.New([]held.Key{held.KeyOf("f", "code")})
		all[at].Load.Waiting, all[at].Load.Parked = 4, 4
		sent := new(Sent)
		table := New(all, sent)
		if m, free := table.Choose("f", "code"); m != all[at].Member || !free {
			t.Fatalf("%s, where %s holds it", m, all[at].Member)
		}
		for range 4 {
			sent.Add(all[at].Member)
		}
		if m, free := table.Choose("f", "code"); m == all[at].Member || !free {
			t.Fatalf("%s, which is full", m)
		}
	}
	all := list(100)
	all[7].Holds = held.New([]held.Key{held.KeyOf("f", "code")})
	with, without := New(all, new(Sent)), New(list(100), new(Sent))
	for range 100 {
		a, _ := with.Choose("f", "other")
		b, _ := without.Choose("f", "other")
		if a != b {
			t.Fatalf("other code of it leads to %s, and to %s where nobody holds any", a, b)
		}
	}
}

// crowd is members that hold as many snapshots each as make so many in all.
func crowd(n, snapshots int) []members.Member {
	all := list(n)
	for i := range all {
		keys := make([]held.Key, snapshots/n)
		for k := range keys {
			keys[k] = held.KeyOf(fmt.Sprint("f", i, ".", k), "code")
		}
		all[i].Holds = held.New(keys)
	}
	return all
}

// BenchmarkChoice is a choice among 1,000 members, which hold 1,000,000 snapshots: of a function
// that one of them holds, and of one that nobody does, for which the most members are asked.
func BenchmarkChoice(b *testing.B) {
	table := New(crowd(1000, 1_000_000), new(Sent))
	for name, f := range map[string]func(int) string{
		"held":   func(i int) string { return fmt.Sprint("f", i%1000, ".", i/1000%1000) },
		"nobody": func(i int) string { return fmt.Sprint("other", i) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				table.Choose(f(i), "code")
			}
		})
	}
}
