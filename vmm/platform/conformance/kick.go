package conformance

import (
	"time"

	"seuss/guest"
	"seuss/vmm"
	"seuss/vmm/platform"
)

// enter runs the vCPU once.
func (b *bench) enter() platform.Exit {
	b.t.Helper()
	e, err := b.VM().VCPU().Run()
	b.must(err)
	return e
}

// rests: the guest comes to its idle doorbell.
func (b *bench) rests(why string) {
	b.t.Helper()
	if e := b.enter(); e.Kind != platform.ExitDoorbell || e.GPA != guest.DoorbellIdle {
		b.t.Fatalf("%s: exit %v at %#x, want the idle doorbell", why, e.Kind, e.GPA)
	}
}

func (b *bench) interrupted(why string) {
	b.t.Helper()
	if e := b.enter(); e.Kind != platform.ExitInterrupted {
		b.t.Fatalf("%s: exit %v at %#x, want an interruption", why, e.Kind, e.GPA)
	}
}

func kickBefore(b *bench) {
	b.rests("before any kick")
	b.VM().VCPU().Kick()
	b.interrupted("a kick before the run")
	b.rests("after it")
}

func kicksDoNotAddUp(b *bench) {
	for range 3 {
		b.VM().VCPU().Kick()
	}
	b.interrupted("three kicks")
	b.rests("after three kicks and one interruption")
}

func kickCleared(b *bench) {
	b.VM().VCPU().Kick()
	b.VM().VCPU().ClearKick()
	b.rests("after a kick that was forgotten")
	b.VM().VCPU().Kick()
	b.interrupted("a kick after one that was forgotten")
}

// kickDuring: one kick is enough, whenever it comes, and the guest goes on afterwards.
func kickDuring(b *bench) {
	b.compute()
	for i := range 20 {
		go func() {
			time.Sleep(time.Duration(i%5) * time.Millisecond)
			b.VM().VCPU().Kick()
		}()
		b.interrupted("a kick during the run")
	}
}

// deadline: a machine whose guest computes stops when it is time, and when it is told
// to; one whose guest rests does too.
func deadline(b *bench) {
	b.compute()
	for range 3 {
		if stop := b.run(2 * time.Millisecond); stop.Kind != vmm.StopTimeout {
			b.t.Fatalf("a guest that computes stopped with %v", stop.Kind)
		}
	}
	go b.Interrupt()
	if stop, err := b.Run(vmm.RunOptions{}); err != nil || stop.Kind != vmm.StopInterrupted {
		b.t.Fatalf("a guest that is to be interrupted stopped with %v, %v", stop.Kind, err)
	}
	if b.Quiescent() {
		b.t.Error("a machine that was stopped while it computed counts as quiescent")
	}
	other := b.another()
	stop, err := other.Run(vmm.RunOptions{Deadline: time.Now().Add(2 * time.Millisecond), Wait: vmm.WaitEvents})
	if err != nil || stop.Kind != vmm.StopTimeout {
		b.t.Fatalf("a guest that rests stopped with %v, %v", stop.Kind, err)
	}
}

// settled: once a machine is settled, its guest changes nothing any more.
func settled(b *bench) {
	const counter = 0x500000
	b.program(0x48, 0xff, 0x04, 0x25, 0, 0, 0x50, 0, 0xeb, 0xf6) // incq 0x500000; jmp to it
	b.order(1)
	var before uint64
	for range 1000 { // as long as a busy host leaves the guest without a processor
		if stop := b.run(5 * time.Millisecond); stop.Kind != vmm.StopTimeout {
			b.t.Fatalf("a guest that computes stopped with %v", stop.Kind)
		}
		b.must(b.Settle())
		if before = b.peek(counter); before != 0 {
			break
		}
	}
	time.Sleep(2 * time.Millisecond)
	if now := b.peek(counter); now != before || before == 0 {
		b.t.Errorf("a settled guest counts from %d to %d", before, now)
	}
}
