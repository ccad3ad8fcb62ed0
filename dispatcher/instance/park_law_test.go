package instance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"seuss/dispatcher/instance/instancetest"
	"seuss/guest"
	"seuss/vmm"
	"seuss/vmm/vmmtest"
)

// sleeper works between sleeps, in several threads, and tells whether all of it was as it
// has to be.
const sleeper = `
import math, os, random, threading, time
def work(n, rest, out):
    x = 0.1 * n
    for k in range(rest["rounds"]):
        began = time.monotonic()
        time.sleep(rest["seconds"])
        if time.monotonic() - began < rest["seconds"]: out.append("too early")
        x = math.sin(x) * 3.7 + k
        with open("/tmp/%d" % n, "ab") as f: f.write(b"%r\n" % x)
        random.random()
    out.append(x)
def handler(event, context):
    out, once = [], os.urandom(16)
    threads = [threading.Thread(target=work, args=(n, event, out)) for n in range(3)]
    for t in threads: t.start()
    for t in threads: t.join()
    lines = [len(open("/tmp/%d" % n, "rb").read().split()) for n in range(3)]
    return {"out": sorted(out), "lines": lines, "apart": once != os.urandom(16)}
`

// TestParkLaw: rest, park, let others have the machine, bring it back to any: memory,
// registers, extended state, MSRs, the device with its streams, and timers are the same,
// byte for byte, and the program goes on as if nothing had happened but time.
func TestParkLaw(t *testing.T) {
	platform := vmmtest.Require(t)
	b := newLawBench(t, platform)
	b.load("sleeper", sleeper)
	vms := []*VM{b.machine(platform, false), b.machine(platform, false)}
	r := rand.New(rand.NewPCG(3, 5))
	rounds, parks := 2, 6
	if testing.Short() {
		rounds, parks = 1, 6
	}
	for round := range rounds {
		vm := vms[round%2]
		b.bring(vm, "sleeper")
		i, err := vm.Begin(b.nodes["sleeper"])
		if err != nil {
			t.Fatal(err)
		}
		naps := 4 * parks // on a slow machine it need not rest between any two
		rest := fmt.Appendf(nil, `{"rounds": %d, "seconds": 0.02}`, naps)
		var seed [guest.SeedBytes]byte
		if err := vm.stream.conn.Send(vm.stream.make(guest.MsgInvoke, seed[:], invocationContext, rest)); err != nil {
			t.Fatal(err)
		}
		for n := range parks {
			vm = i.vm
			stop, err := vm.m.Run(vmm.RunOptions{Deadline: time.Now().Add(time.Minute), Wait: vmm.WaitNone, Done: vm.arrived})
			if err != nil || stop.Kind != vmm.StopIdle {
				t.Fatalf("it does not rest: %+v, %v", stop, err)
			}
			what := fmt.Sprintf("round %d, park %d", round, n)
			want, generation := b.record(vm), vm.m.Memory().Page(guest.IdentityGPA / guest.PageSize)[guest.IdentityGeneration:][:8]
			generation = bytes.Clone(generation)
			p, err := i.park(anyRoom)
			if err != nil {
				t.Fatal(err)
			}
			if (stop.GuestDeadlineNS == 0) != p.Due.IsZero() || p.Due.After(time.Now().Add(time.Second)) {
				t.Errorf("%s: it is due at %v, its timer is at %d", what, p.Due, stop.GuestDeadlineNS)
			}
			if r.IntN(2) == 0 {
				whole := p.Bytes()
				if err := p.Squeeze(); err != nil {
					t.Fatal(err)
				}
				t.Logf("%s: %d pages, %d bytes whole, %d squeezed", what, len(p.delta.pages), whole, p.Bytes())
			}
			for _, other := range vms { // whoever else
				switch r.IntN(3) {
				case 0:
					b.bring(other, "sleeper")
				case 1:
					name := []string{"base", "function A", "function B"}[r.IntN(3)]
					b.bring(other, name)
					b.invoke(other, name, gentle[r.IntN(len(gentle))])
				}
			}
			next := vms[r.IntN(2)]
			if err := i.resume(next); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			b.checkResumed(next, want, what)
			if !bytes.Equal(next.m.Memory().Page(guest.IdentityGPA / guest.PageSize)[guest.IdentityGeneration:][:8], generation) {
				t.Errorf("%s: it is another instance", what)
			}
			if n%4 == 3 { // or nothing would become of it
				time.Sleep(25 * time.Millisecond)
			}
		}
		f, err := i.exchange(context.Background(), time.Now().Add(time.Minute*time.Duration(*instancetest.Slow)), nil)
		if err != nil || f.kind != guest.MsgResult {
			t.Fatalf("frame %d, %v", f.kind, err)
		}
		if got := string(f.payload); strings.Contains(got, "early") || !strings.Contains(got, fmt.Sprintf(`"lines": [%d, %[1]d, %[1]d], "apart": true`, naps)) {
			t.Errorf("it says %s", got)
		}
		vms[0], vms[1] = vms[1], vms[0]
		i.End()
	}
}

// checkResumed is check of what has been away: its clock has gone on.
func (b *lawBench) checkResumed(vm *VM, want *record, what string) {
	b.Helper()
	now := b.state(vm).MonoNS
	if now < want.state.MonoNS {
		b.Errorf("%s: the clock went back from %d to %d", what, want.state.MonoNS, now)
	}
	// The one field that depends on the machine.
	tsc := func(memory []byte) []byte { return memory[guest.IdentityGPA+guest.IdentityTSC:][:8] }
	mem := contents(vm.m.Memory())
	b.sameInProcess(vm, mem, what)
	copy(tsc(mem), tsc(want.memory))
	if !bytes.Equal(mem, want.memory) {
		pages := differing(mem, want.memory)
		b.Fatalf("%s: %d pages differ, the first is %#x", what, len(pages), pages[0])
	}
	got := b.state(vm)
	got.MonoNS = want.state.MonoNS
	if !got.Equal(want.state) {
		b.Fatalf("%s: the machine state differs:\n%+v\nwant\n%+v", what, got, want.state)
	}
}

func anyRoom(uint64) bool { return true }

// elsewhere parks whatever waits, and brings it back when it is due.
type elsewhere struct {
	next  func(vm *VM) *VM
	parks int
	room  func() bool
	err   error // that it ends in
}

func (e *elsewhere) Waits() bool { return true }
func (e *elsewhere) Works()      {}

func (e *elsewhere) Room(uint64) bool { return e.room == nil || e.room() }
func (e *elsewhere) Discard(vm *VM) {
	if err := vm.Close(); err != nil {
		panic(err)
	}
}

func (e *elsewhere) Park(ctx context.Context, p *Parked, vm *VM, until time.Time) (*VM, error) {
	e.parks++
	if e.err != nil {
		return nil, e.err
	}
	timer := time.NewTimer(time.Until(p.Due))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.Woken():
	}
	return e.next(vm), nil
}

// TestParkedConversation: a conversation goes on over instances that come and go, and one
// that ends while its instance is away is over.
func TestParkedConversation(t *testing.T) {
	platform := vmmtest.Require(t)
	b := newLawBench(t, platform)
	b.load("sleeper", sleeper)
	vms := []*VM{b.machine(platform, false), b.machine(platform, false)}
	away := &elsewhere{next: func(vm *VM) *VM {
		b.bring(vm, "function A")
		b.invoke(vm, "function A", "plant")
		vms[0], vms[1] = vms[1], vms[0]
		return vms[0]
	}}
	event := []byte(`{"rounds": 8, "seconds": 0.02}`)
	vm := vms[0]
	b.bring(vm, "sleeper")
	i, err := vm.Begin(b.nodes["sleeper"])
	if err != nil {
		t.Fatal(err)
	}
	i.Parking = away
	reply, err := i.Converse(context.Background(), time.Now().Add(time.Minute*time.Duration(*instancetest.Slow))).Call(WithEvent, invocationContext, event)
	if err != nil || !strings.Contains(string(reply.Output), `"lines": [8, 8, 8]`) {
		t.Errorf("%s, %v", reply.Output, err)
	}
	if away.parks == 0 {
		t.Error("it was never parked")
	}
	vm = i.End()
	b.bring(vm, "sleeper")
	if i, err = vm.Begin(b.nodes["sleeper"]); err != nil {
		t.Fatal(err)
	}
	i.Parking = &elsewhere{err: ErrTimeout}
	if _, err := i.Converse(context.Background(), time.Time{}).Call(WithEvent, invocationContext, event); !errors.Is(err, ErrTimeout) {
		t.Errorf("%v", err)
	}
	if i.VM() != nil {
		t.Error("it has a machine")
	}
	i.Report()
	if vm := i.End(); vm != nil {
		t.Error("it leaves a machine that it has not")
	}
	if held := b.nodes["sleeper"].Held(); held {
		t.Error("what it was a difference of is held still")
	}
}

// TestParkNoRoom: who finds no room, however much he would take, stays on his machine, and goes
// on there.
func TestParkNoRoom(t *testing.T) {
	platform := vmmtest.Require(t)
	b := newLawBench(t, platform)
	b.load("sleeper", sleeper)
	vm := b.machine(platform, false)
	b.bring(vm, "sleeper")
	i, err := vm.Begin(b.nodes["sleeper"])
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	away := &elsewhere{room: func() bool { asked++; return false }}
	i.Parking = away
	reply, err := i.Converse(context.Background(), time.Now().Add(time.Minute*time.Duration(*instancetest.Slow))).Call(WithEvent, invocationContext, []byte(`{"rounds": 4, "seconds": 0.05}`))
	if err != nil || !strings.Contains(string(reply.Output), `"lines": [4, 4, 4]`) {
		t.Errorf("%s, %v", reply.Output, err)
	}
	if asked == 0 || away.parks > 0 || i.End() != vm {
		t.Errorf("asked %d times, parked %d times", asked, away.parks)
	}
}
