package vmm_test

import (
	"bytes"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"seuss/guest"
	"seuss/vmm"
)

// copyMemory makes b's memory what it was when content was read, but for the pages that the
// host does not map.
func (b *bench) copyMemory(content []byte) {
	b.t.Helper()
	for page := uint64(guest.LowGPA / guest.PageSize); page < b.Memory().Pages(); page++ {
		was := content[page*guest.PageSize : (page+1)*guest.PageSize]
		if bytes.Equal(was, b.Memory().Page(page)) {
			continue
		}
		if err := b.Memory().Write(vmm.GPA(page*guest.PageSize), was); err != nil {
			b.t.Fatal(err)
		}
	}
}

func (b *bench) content() []byte {
	var all []byte
	for page := range b.Memory().Pages() {
		all = append(all, b.Memory().Page(page)...)
	}
	return all
}

// TestParkAndResume: what has left its machine goes on on another one with the same
// registers, extended state, MSRs and memory; its clock has gone on, and what was there
// meanwhile leaves nothing.
func TestParkAndResume(t *testing.T) {
	a := newBench(t)
	a.needExtendedState()
	a.check(a.command(cmdRegisters), vmm.StopIdle)
	want, memory := a.state(), a.content()
	var woken atomic.Int32
	p, err := vmm.Park(a.Machine, func() { woken.Add(1) })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Run(vmm.RunOptions{}); err == nil {
		t.Error("what was parked goes on where it was")
	}
	if err := a.Restore(want); err != nil {
		t.Errorf("the machine cannot be used again: %v", err)
	}
	other := newBenchOn(t, a.p, false)
	other.check(other.command(cmdExtendedState), vmm.StopIdle) // leaves other registers
	before := a.MonoNS()
	other.copyMemory(memory)
	if err := p.Resume(other.Machine); err != nil {
		t.Fatal(err)
	}
	if now := other.MonoNS(); now < before {
		t.Errorf("the clock went back from %d to %d", before, now)
	}
	got := other.state()
	if got.MonoNS < want.MonoNS || got.MonoNS > want.MonoNS+uint64(10*time.Minute) {
		t.Errorf("monotonic time %d, parked at %d", got.MonoNS, want.MonoNS)
	}
	got.MonoNS = want.MonoNS
	if !got.Equal(want) {
		t.Errorf("the state differs:\n%+v\nwant\n%+v", got, want)
	}
	now := other.content()
	if err := other.Memory().Write(guest.IdentityGPA+guest.IdentityTSC, memory[guest.IdentityGPA+guest.IdentityTSC:][:8]); err != nil {
		t.Fatal(err) // the one thing that depends on the machine
	}
	copy(now[guest.IdentityGPA+guest.IdentityTSC:][:8], memory[guest.IdentityGPA+guest.IdentityTSC:])
	if !bytes.Equal(now, memory) {
		t.Error("memory differs")
	}
	other.check(other.command(cmdTime), vmm.StopIdle)
	if woken.Load() != 0 {
		t.Error("nothing came, and it was woken")
	}
}

// TestParkNeedsRest: what computes cannot be parked, and who waits is nudged.
func TestParkNeedsRest(t *testing.T) {
	b := newBench(t)
	b.program(0xeb, 0xfe) // jmp .
	if err := b.Memory().WriteU32(mailbox, cmdProgram); err != nil {
		t.Fatal(err)
	}
	b.check(b.run(vmm.RunOptions{Deadline: time.Now().Add(10 * time.Millisecond)}), vmm.StopTimeout)
	if _, err := vmm.Park(b.Machine, func() {}); !errors.Is(err, vmm.ErrNotQuiescent) {
		t.Errorf("%v", err)
	}
}

// leaver leaves when it is asked for the nth time.
type leaver struct {
	asked, works int
	leave        func(n int) bool
}

func (l *leaver) Waits() bool { l.asked++; return l.leave(l.asked) }
func (l *leaver) Works()      { l.works++ }

// TestLeaver: a guest that waits is asked once, and again for each nudge; it leaves when it
// is said to, resting.
func TestLeaver(t *testing.T) {
	b := newBench(t)
	again := make(chan struct{})
	l := &leaver{leave: func(n int) bool {
		if n == 1 {
			close(again)
		}
		return n == 2
	}}
	go func() {
		<-again
		b.Nudge()
	}()
	b.check(b.run(vmm.RunOptions{Deadline: time.Now().Add(testTime), Wait: vmm.WaitEvents, Leave: l}), vmm.StopIdle)
	if l.asked != 2 || !b.Quiescent() {
		t.Errorf("asked %d times, at rest %v", l.asked, b.Quiescent())
	}
	// Near its deadline it is not asked any more, and the end of a Run is the end of the wait.
	l = &leaver{leave: func(int) bool { return false }}
	b.check(b.run(vmm.RunOptions{Deadline: time.Now().Add(time.Millisecond), Wait: vmm.WaitEvents, Leave: l}), vmm.StopTimeout)
	if l.asked != 0 || l.works != 0 {
		t.Errorf("asked %d times for a millisecond", l.asked)
	}
	b.check(b.run(vmm.RunOptions{Deadline: time.Now().Add(50 * time.Millisecond), Wait: vmm.WaitEvents, Leave: l}), vmm.StopTimeout)
	if l.asked == 0 || l.works != 1 {
		t.Errorf("asked %d times, and told %d times that it works", l.asked, l.works)
	}
}
