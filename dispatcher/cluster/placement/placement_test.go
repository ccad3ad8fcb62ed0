package placement

import (
	"fmt"
	"testing"

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
		m, free := table.Choose("f")
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
		m, _ := table.Choose("f")
		sent.Add(m)
		seen[m] = true
	}
	if len(seen) < 50 || seen["m1"] || seen["m2"] || seen["m3"] || seen["m4"] {
		t.Errorf("went to %d members", len(seen))
	}
	few := New(list(2), new(Sent))
	for range 100 {
		if m, _ := few.Choose("f", "m0"); m != "m1" {
			t.Fatalf("%q", m)
		}
	}
	if m, _ := few.Choose("f", "m0", "m1"); m != "" {
		t.Errorf("%q was tried", m)
	}
	full := list(2)
	full[0].Load.Running, full[1].Load.Running = 4, 5
	if m, free := New(full, new(Sent)).Choose("f"); m == "" || free {
		t.Errorf("%q, %v", m, free)
	}
}

// BenchmarkChoice is a choice among 1,000 members.
func BenchmarkChoice(b *testing.B) {
	table := New(list(1000), new(Sent))
	b.ReportAllocs()
	for b.Loop() {
		table.Choose("some-function")
	}
}
