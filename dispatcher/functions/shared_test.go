package functions

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"seuss/lineage"
)

// TestSharedStoresConverge: three members change the same deployments, whoever knows of what,
// and hear of the changes in any order, some twice: in the end all have the same, and a change
// that was made knowing of another one is never undone by it.
func TestSharedStoresConverge(t *testing.T) {
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 0))
		var stores [3]Shared
		for i := range stores {
			stores[i] = Shared{open(t, t.TempDir())}
			stores[i].Share(fmt.Sprintf("m%d", i), nil)
		}
		keys := []string{"a", "a:1", "someone/b"}
		tell := func(from, to Shared, key string) {
			t.Helper()
			c, err := from.State(key)
			if err != nil || c == nil {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			var code []byte
			if c.Record != nil {
				if code, err = from.CodeOf(OwnerOf(key), c.Record.CodeDigest); err != nil {
					t.Fatal(err)
				}
			}
			before, _ := to.State(key)
			taken, err := to.Take(c, code)
			if err != nil {
				t.Fatal(err)
			}
			if taken && before != nil && before.Stamp.Knows(&c.Stamp) {
				t.Fatalf("seed %d: %+v is undone by %+v, which it knew", seed, before, c)
			}
		}
		for step := range 60 {
			s, key := stores[random.IntN(3)], keys[random.IntN(3)]
			switch random.IntN(4) {
			case 0:
				if _, err := s.Put(Function{Name: key, Handler: fmt.Sprint("h", step)}, fmt.Appendf(nil, "code %d", random.IntN(3))); err != nil {
					t.Fatal(err)
				}
			case 1:
				if err := s.Remove(key); err != nil && !errors.Is(err, lineage.ErrNotFound) {
					t.Fatal(err)
				}
			default:
				tell(s, stores[random.IntN(3)], key)
			}
		}
		for range 3 {
			for _, from := range stores {
				for _, to := range stores {
					for _, key := range keys {
						tell(from, to, key)
					}
				}
			}
		}
		for _, key := range keys {
			var marks [3]Mark
			for i, s := range stores {
				if c, err := s.State(key); err != nil {
					t.Fatal(err)
				} else if c != nil {
					marks[i] = c.Mark()
				}
			}
			if marks[0] != marks[1] || marks[1] != marks[2] {
				t.Fatalf("seed %d: %s is %+v", seed, key, marks)
			}
		}
		for i, s := range stores { // and after a restart
			n := 0
			if err := s.States(func(*Change) { n++ }); err != nil {
				t.Fatal(err)
			}
			s.Close()
			again, m := Shared{open(t, s.dir)}, 0
			if err := again.States(func(*Change) { m++ }); err != nil || m != n {
				t.Fatalf("seed %d, store %d: %d states, then %d: %v", seed, i, n, m, err)
			}
		}
	}
}

// TestStampsByHand: what has no stamp gets one, whoever is in no cluster any more counts on,
// and what is no change is refused by name.
func TestStampsByHand(t *testing.T) {
	dir := t.TempDir()
	s := Shared{open(t, dir)}
	if f, err := s.Put(Function{Name: "own", Handler: "h"}, []byte("x")); err != nil || f.Stamp.Count != 0 {
		t.Fatal(f.Stamp, err)
	}
	var told []string
	s.Share("m", func(key string) { told = append(told, key) })
	if err := errors.Join(s.Stamp("own", Stamp{}), s.Stamp("own", Stamp{})); err != nil {
		t.Fatal(err)
	}
	if f, err := s.Get("own"); err != nil || f.Stamp.Count != 1 || f.Stamp.By != "m" || len(told) != 1 {
		t.Fatal(f.Stamp, told, err)
	}
	s.Close()
	s = Shared{open(t, dir)}
	if f, err := s.Put(Function{Name: "own", Handler: "h"}, []byte("y")); err != nil || f.Stamp.Count != 2 || f.Stamp.By != Offline || f.Stamp.Seen["m"] != 1 {
		t.Fatal(f.Stamp, err)
	}
	if err := s.Remove("own"); err != nil {
		t.Fatal(err)
	}
	if f, err := s.Put(Function{Name: "own", Handler: "h"}, []byte("y")); err != nil || f.Stamp.Count != 4 {
		t.Fatal(f.Stamp, err)
	}
	c, err := s.State("own")
	if err != nil {
		t.Fatal(err)
	}
	for what, spoil := range map[string]func(*Change){
		"no stamp":  func(c *Change) { c.Stamp = Stamp{} },
		"another's": func(c *Change) { c.Key = "other" },
		"both":      func(c *Change) { c.Removed = time.Now() },
		"neither":   func(c *Change) { c.Record = nil },
		"a path":    func(c *Change) { c.Key = "../x" },
		"no member": func(c *Change) { c.Stamp.By = "../x" },
		"a strange code": func(c *Change) {
			r := *c.Record
			r.CodeDigest = CodeDigest(nil)
			c.Record, c.Stamp = &r, c.Stamp.next("m")
		},
	} {
		bad := *c
		spoil(&bad)
		if _, err := s.Take(&bad, []byte("y")); err == nil {
			t.Errorf("%s: it is taken", what)
		}
	}
	old, err := s.Put(Function{Name: "old", Handler: "h"}, []byte("z"))
	if err != nil || old.Stamp.Count != 0 {
		t.Fatal(old.Stamp, err)
	}
	long := &Change{Key: "old", Stamp: (&Stamp{}).next("m"), Removed: time.Now().Add(-2 * RemovedFor)}
	if taken, err := s.Take(long, nil); !taken || err != nil {
		t.Fatal(taken, err)
	}
	for range 2 {
		if err := s.States(func(c *Change) {
			if c.Key == "old" {
				t.Error("a removal is remembered for ever")
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
}
