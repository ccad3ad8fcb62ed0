package vmm_test

import (
	"strings"
	"testing"
	"time"

	"seuss/guest"
	"seuss/vmm"
	"seuss/vmm/platform"
)

func TestKickDivertsProgram(t *testing.T) {
	b := newBench(t)
	b.program(spin...)
	control := vmm.GPA(guest.ControlGPA)
	// Another thread waits: the program must be preempted within a time slice.
	if err := b.Memory().WriteU32(control+guest.ControlRunnable, 1); err != nil {
		t.Fatal(err)
	}
	for i := range uint64(3) {
		b.check(b.command(cmdProgram), vmm.StopIdle)
		if got := b.u64(mailUpcalls); got != i+1 {
			t.Fatalf("%d upcalls after %d runs", got, i+1)
		}
		if rip := b.u64(control + guest.ControlUpcallRIP); rip != uint64(mailProgram) {
			t.Errorf("upcall came from %#x, want %#x", rip, uint64(mailProgram))
		}
		if rsp := b.u64(control + guest.ControlUpcallRSP); rsp != 0x37000 {
			t.Errorf("upcall rsp %#x", rsp)
		}
	}
}

func TestKickInKernelSetsAttention(t *testing.T) {
	b := newBench(t)
	if err := b.Memory().WriteU32(guest.ControlGPA+guest.ControlRunnable, 1); err != nil {
		t.Fatal(err)
	}
	b.check(b.command(cmdKernelSpin), vmm.StopIdle)
	if b.u64(mailResult) != 1 || b.u64(mailUpcalls) != 0 {
		t.Errorf("result %d, upcalls %d", b.u64(mailResult), b.u64(mailUpcalls))
	}
}

func TestGuestTimerKicks(t *testing.T) {
	b := newBench(t)
	b.program(spin...)
	b.setU64(guest.ControlGPA+guest.ControlDeadlineNS, b.MonoNS()+uint64(10*time.Millisecond))
	// The timer stays due, so the guest is not left alone; the deadline ends that.
	b.check(b.run(vmm.RunOptions{Deadline: time.Now().Add(testTime), Wait: vmm.WaitTimers, Done: func() bool {
		return b.MonoNS() > b.u64(guest.ControlGPA+guest.ControlDeadlineNS)
	}}), vmm.StopDone)
	b.setU64(guest.ControlGPA+guest.ControlDeadlineNS, b.MonoNS()+uint64(10*time.Millisecond))
	if err := b.Memory().WriteU32(mailbox, cmdProgram); err != nil {
		t.Fatal(err)
	}
	b.check(b.run(vmm.RunOptions{Deadline: time.Now().Add(testTime), Done: func() bool { return b.u64(mailUpcalls) > 0 }}), vmm.StopDone)
}

func TestTimeoutOfComputingGuest(t *testing.T) {
	b := newBench(t)
	b.program(spin...)
	if err := b.Memory().WriteU32(mailbox, cmdProgram); err != nil {
		t.Fatal(err)
	}
	b.check(b.run(vmm.RunOptions{Deadline: time.Now().Add(10 * time.Millisecond)}), vmm.StopTimeout)
	for tries := 0; b.Registers().RIP != uint64(mailProgram) && tries < 1000; tries++ { // on a busy host deadlines pass before it gets there
		b.check(b.run(vmm.RunOptions{Deadline: time.Now().Add(10 * time.Millisecond)}), vmm.StopTimeout)
	}
	if b.Quiescent() {
		t.Error("a machine that was stopped while it computed counts as quiescent")
	}
	if rip := b.Registers().RIP; rip != uint64(mailProgram) {
		t.Errorf("stopped at %#x", rip)
	}
	if _, err := b.Capture(); err == nil {
		t.Error("captured a machine that is not idle")
	}
}

func TestTimeoutOfIdleGuest(t *testing.T) {
	b := newBench(t)
	b.check(b.run(vmm.RunOptions{Deadline: time.Now().Add(10 * time.Millisecond), Wait: vmm.WaitEvents}), vmm.StopTimeout)
}

func TestInterrupt(t *testing.T) {
	b := newBench(t)
	b.Interrupt() // before Run: it is not lost
	b.check(b.run(vmm.RunOptions{}), vmm.StopInterrupted)
	b.check(b.run(vmm.RunOptions{}), vmm.StopIdle)
	for _, wait := range []bool{false, true} {
		go func() {
			time.Sleep(5 * time.Millisecond)
			b.Interrupt()
		}()
		if wait {
			b.check(b.run(vmm.RunOptions{Wait: vmm.WaitEvents}), vmm.StopInterrupted)
			continue
		}
		b.program(spin...)
		if err := b.Memory().WriteU32(mailbox, cmdProgram); err != nil {
			t.Fatal(err)
		}
		b.check(b.run(vmm.RunOptions{}), vmm.StopInterrupted)
		// It can go on afterwards.
		if err := b.Memory().WriteU32(guest.ControlGPA+guest.ControlRunnable, 1); err != nil {
			t.Fatal(err)
		}
		b.expect(vmm.StopIdle)
	}
}

func (b *bench) state() *vmm.State {
	b.t.Helper()
	s, err := b.Capture()
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

func TestStops(t *testing.T) {
	for _, c := range []struct {
		name string
		cmd  uint32
		kind vmm.StopKind
		exit platform.ExitKind
	}{
		{"exit", cmdExit, vmm.StopExit, 0},
		{"triple fault", cmdTripleFault, vmm.StopCrash, platform.ExitShutdown},
		{"store outside memory", cmdOutside, vmm.StopCrash, platform.ExitMMIOWrite},
		{"unknown doorbell", cmdBadDoorbell, vmm.StopCrash, platform.ExitDoorbell},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			b.setU64(mailResult, guest.DeviceGPA+0x10000) // behind the devices
			stop := b.check(b.command(c.cmd), c.kind)
			if c.kind == vmm.StopExit && stop.Code != 42 {
				t.Errorf("code %d", stop.Code)
			}
			if c.exit != 0 && stop.Exit.Kind != c.exit {
				t.Errorf("exit %v, want %v", stop.Exit.Kind, c.exit)
			}
			report := b.CrashReport(stop, nil)
			if text := report.String(); !strings.Contains(text, "RIP") {
				t.Errorf("crash report without registers:\n%s", text)
			}
		})
	}
}

func TestConsole(t *testing.T) {
	b := newBench(t)
	b.check(b.command(cmdConsole), vmm.StopIdle)
	if got := b.console.String(); got != "1hello2!!!" {
		t.Errorf("console %q", got)
	}
	s := b.Stats()
	if s.ConsoleBytes != 8 || s.ConsoleDropped != 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestGuestClock(t *testing.T) {
	b := newBench(t)
	var id guest.Identity
	for range 3 {
		if err := b.Memory().ReadStruct(guest.IdentityGPA, &id); err != nil {
			t.Fatal(err)
		}
		before := b.MonoNS()
		b.check(b.command(cmdTime), vmm.StopIdle)
		after := b.MonoNS()
		tsc := b.u64(mailResult)
		// The guest computes its clock like this; it must lie between ours.
		hi, lo := mul(tsc-id.TSC, id.TSCMult)
		mono := id.MonoNS + hi<<32 + lo>>32
		if mono < before || mono > after {
			t.Errorf("guest's clock %d, host's before %d and after %d", mono, before, after)
		}
	}
}

func TestRunAllocatesNothing(t *testing.T) {
	b := newBench(t)
	o := vmm.RunOptions{Deadline: time.Now().Add(time.Hour), Done: func() bool { return false }}
	if n := testing.AllocsPerRun(50, func() {
		if stop, err := b.Run(o); err != nil || stop.Kind != vmm.StopIdle {
			t.Fatal(stop, err)
		}
	}); n != 0 {
		t.Errorf("Run allocates %v times", n)
	}
}
