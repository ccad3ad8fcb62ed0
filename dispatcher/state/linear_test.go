package state

import (
	"bytes"
	"fmt"
	"math/rand"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// input is an operation of a history, output what came of it.
type input struct {
	op      string
	p       string
	at      int64
	version uint64 // of cas
}

type output struct {
	value   string
	version uint64
	ok      bool
}

type register struct {
	value   string
	version uint64
	there   bool
}

// model is what a key does: a register with versions that only grow.
var model = porcupine.Model{
	Init: func() any { return register{} },
	Step: func(state, in, out any) (bool, any) {
		r, i, o := state.(register), in.(input), out.(output)
		wrote := func(value string) (bool, any) {
			return o.ok && o.version > r.version, register{value, o.version, true}
		}
		switch i.op {
		case "get", "look":
			return o.ok == r.there && (!r.there || o.value == r.value && o.version == r.version), r
		case "set":
			return wrote(i.p)
		case "append":
			return wrote(r.value + i.p)
		case "range":
			b := []byte(r.value)
			if end := int(i.at) + len(i.p); end > len(b) {
				b = append(b, make([]byte, end-len(b))...)
			}
			copy(b[i.at:], i.p)
			return wrote(string(b))
		case "delete":
			if o.ok {
				return r.there, register{version: r.version}
			}
			return !r.there, r
		}
		has := uint64(0)
		if r.there {
			has = r.version
		}
		if has != i.version {
			return !o.ok, r
		}
		return wrote(i.p)
	},
}

// onlooker is a guest that has mapped the window of its share, and knows where the value was.
type onlooker struct {
	memory []byte
	place  Place
}

// look is a get of the modules': without asking, where that is possible.
func (g *onlooker) look(s *Session) (o output) {
	if value, version, ok := look(g.memory, g.place); ok {
		return output{string(value), version, true}
	}
	o = apply(s, g, input{op: "get"})
	g.place = s.Show("a/k")
	return o
}

func apply(s *Session, g *onlooker, i input) (o output) {
	if i.op == "look" {
		return g.look(s)
	}
	var m Meta
	var err error
	switch i.op {
	case "get":
		var p []byte
		p, m, err = s.Get("a/k", 0, -1)
		o.value = string(p)
	case "set":
		m, err = s.Set("a/k", []byte(i.p), If{})
	case "append":
		m, err = s.Append("a/k", []byte(i.p), If{})
	case "range":
		m, err = s.SetRange("a/k", i.at, []byte(i.p), If{})
	case "delete":
		err = s.Delete("a/k", If{})
	case "cas":
		m, err = s.Set("a/k", []byte(i.p), If{Version: &i.version})
	}
	o.version, o.ok = m.Version, err == nil
	return o
}

// TestLinearizable: histories of many sessions, of which some are killed, are as if each
// operation had happened at one moment (Herlihy and Wing), those among them that read a window
// without asking.
func TestLinearizable(t *testing.T) {
	for seed := range int64(5) {
		ws := &testWindows{t, map[string]*testWindow{}}
		s := New(Options{Window: ws.open})
		first := open(t, s, "first", "a:rw")
		if _, err := first.Set("a/other", nil, If{}); err != nil {
			t.Fatal(err)
		}
		first.Show("a/other")
		memory, looked := ws.by["ada/a"].memory, atomic.Int64{}
		began := time.Now()
		var mu sync.Mutex
		var history []porcupine.Operation
		var wg sync.WaitGroup
		for client := range 8 {
			r := rand.New(rand.NewSource(100*seed + int64(client)))
			f := open(t, s, fmt.Sprint("f", client), "a:rw")
			wg.Go(func() {
				known, g := uint64(0), &onlooker{memory: memory}
				for n := range 60 {
					if r.Intn(40) == 0 { // it dies, and another one comes
						f.Close()
						f = open(t, s, fmt.Sprint("f", client, n), "a:rw")
					}
					i := input{op: []string{"get", "look", "look", "look", "set", "append", "append", "range", "delete", "cas"}[r.Intn(10)], p: fmt.Sprintf("%d.%d;", client, n), at: int64(r.Intn(20)), version: known}
					call := time.Since(began)
					if _, _, ok := look(g.memory, g.place); ok && i.op == "look" {
						looked.Add(1)
					}
					o := apply(f, g, i)
					end := time.Since(began)
					if o.ok {
						known = o.version
					}
					mu.Lock()
					history = append(history, porcupine.Operation{ClientId: client, Input: i, Output: o, Call: call.Nanoseconds(), Return: end.Nanoseconds()})
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if result := porcupine.CheckOperationsTimeout(model, history, time.Minute); result != porcupine.Ok {
			t.Errorf("seed %d: %v", seed, result)
		}
		s.Close()
		if looked.Load() < 20 {
			t.Errorf("seed %d: %d reads of the window: the test says little", seed, looked.Load())
		}
	}
}

// TestCheckerFindsFaults: the checker refuses what is not linearizable, or the test above
// says nothing.
func TestCheckerFindsFaults(t *testing.T) {
	wrong := []porcupine.Operation{
		{ClientId: 0, Input: input{op: "set", p: "a"}, Output: output{version: 1, ok: true}, Call: 0, Return: 1},
		{ClientId: 1, Input: input{op: "set", p: "b"}, Output: output{version: 2, ok: true}, Call: 2, Return: 3},
		{ClientId: 0, Input: input{op: "get"}, Output: output{value: "a", version: 1, ok: true}, Call: 4, Return: 5},
	}
	if porcupine.CheckOperations(model, wrong) {
		t.Error("a stale read passes")
	}
}

func FuzzKey(f *testing.F) {
	f.Add("a/b")
	f.Add("a//")
	f.Fuzz(func(t *testing.T, key string) {
		share, err := splitKey(key)
		if err == nil && (!ValidShare(share) || !bytes.HasPrefix([]byte(key), []byte(share+"/")) || len(key) > len(share)+1+MaxNameBytes) {
			t.Errorf("%q: %q", key, share)
		}
	})
}
