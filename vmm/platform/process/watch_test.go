package process

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"seuss/guest"
	"seuss/vmm"
	"seuss/vmm/platform"
)

// TestWatch: a stub that uses its processor time up without an answer is to blame for
// that, one that gets none is not.
func TestWatch(t *testing.T) {
	const limit = time.Second
	for _, c := range []struct {
		name  string
		step  time.Duration // between two looks
		share float64       // of it that the stub runs
		turns uint64        // that it has had a processor in it, if only for a moment
		state byte
		halt  time.Duration
		want  error
		after time.Duration
	}{
		{"runs on", 50 * time.Millisecond, 1, 0, 'R', 0, errBroken, limit},
		{"runs on, one processor of ten", 50 * time.Millisecond, 0.1, 0, 'R', 0, errBroken, 10 * limit},
		{"runs now and then", time.Second, 0.001, 0, 'S', 0, errStarved, starvedAfter},
		{"runs less than is counted", time.Second, 0, 1, 'S', 0, errStarved, starvedAfter},
		{"waits for a processor", time.Second, 0, 0, 'R', 0, errStarved, starvedAfter},
		{"is stopped", 50 * time.Millisecond, 0, 0, 'T', 0, errHalted, haltedAfter},
		{"waits for a disk", 50 * time.Millisecond, 0, 0, 'D', 0, errHalted, haltedAfter},
		{"waits for a lock, on a host where the monitor comes late too", time.Second, 0, 0, 'D', 0, errHalted, haltedAfter / lookStep * time.Second},
		{"waits for a lock, on a host that does hardly anything", 5 * time.Second, 0, 0, 'S', 0, errStarved, starvedAfter},
		{"waits to be set up among many", 50 * time.Millisecond, 0, 0, 'D', starvedAfter, errHalted, starvedAfter},
	} {
		w := watch{limit: limit, halt: c.halt, what: "it does not stop"}
		now, had := time.Hour, turns{used: time.Minute}
		begun := now
		var err error
		for err == nil && now < 2*time.Hour {
			err = w.look(int64(now), had, c.state)
			now += c.step
			had.used += time.Duration(c.share * float64(c.step))
			had.count += c.turns
		}
		if took := now - begun - 2*c.step; !errors.Is(err, c.want) || took < c.after-c.step || took > c.after+c.step {
			t.Errorf("%s: after %v: %v; want %v after %v", c.name, took, err, c.want, c.after)
		}
	}
}

// TestSetUpsHaveAnEnd: who waits to set a stub up, behind others that do not come to an end, is
// told so.
func TestSetUpsHaveAnEnd(t *testing.T) {
	turns := make(chan struct{}, 2)
	for range cap(turns) {
		if err := takeTurn(turns, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	if err := takeTurn(turns, time.Millisecond); !errors.Is(err, errStarved) || !strings.Contains(err.Error(), "waits to be set up") {
		t.Error(err)
	}
	time.AfterFunc(time.Millisecond, func() { <-turns })
	if err := takeTurn(turns, time.Hour); err != nil {
		t.Error(err)
	}
}

// TestStoppedStub: a stub that somebody else has stopped is an error of the host's, whatever
// its guest was told.
func TestStoppedStub(t *testing.T) {
	v := newVictim(t, testPlatform(t))
	p := v.proc()
	if err := unix.Kill(p.pid, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	had, state, err := p.seen()
	for limit := time.Now().Add(10 * time.Second); state != 'T' && err == nil && time.Now().Before(limit); time.Sleep(time.Millisecond) {
		had, state, err = p.seen()
	}
	if err == nil { // the time was read before the state
		had, _, err = p.seen()
	}
	if err != nil || had.used == 0 || had.count == 0 {
		t.Fatalf("%+v, %v", had, err)
	}
	now := sinceStart() - 1
	err = p.watch(&watch{limit: patience, what: "it does not stop", begun: now, looked: now, used: had.used, last: had, still: haltedAfter})
	if !errors.Is(err, errHalted) || !strings.Contains(err.Error(), "state T") {
		t.Fatalf("%v, want one that says it is stopped", err)
	}
	if exit, err := v.VM().VCPU().(*VCPU).failed(err); err == nil {
		t.Errorf("the guest is blamed: %+v", exit)
	}
	<-p.ended // it is of no more use
}

// TestOldKick: a stub that does something itself is not ended for a kick that came long ago.
func TestOldKick(t *testing.T) {
	v := newVictim(t, testPlatform(t))
	p := v.proc()
	if err := v.Settle(); err != nil {
		t.Fatal(err)
	}
	p.kickedAt.Store(sinceStart() - int64(time.Hour))
	if err := unix.Kill(p.pid, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(3*pollPeriodMS*time.Millisecond, func() { _ = unix.Kill(p.pid, unix.SIGCONT) })
	if err := p.call(unix.SYS_GETRUSAGE, unix.RUSAGE_SELF, scratch); err != nil {
		t.Error(err)
	}
	p.clearKick()
	if stop := v.run(5 * time.Second); stop.Kind != vmm.StopIdle {
		t.Errorf("%+v", stop)
	}
}

// TestFaultsLeaveMappings: what a guest's fault changes of its mappings is made by Run, which
// looks for kicks meanwhile, however much it is.
func TestFaultsLeaveMappings(t *testing.T) {
	v := newVCPU(t)
	if err := v.vm.mem.flush(); err != nil {
		t.Fatal(err)
	}
	v.vm.mem.stale.AddRange(0x200, 64)
	v.put(t, guest.IDTGPA+6*gateBytes, binary.LittleEndian.AppendUint64(nil, gatePresent|codeAt&0xffff))
	v.put(t, guest.TSSGPA+tssIST1, binary.LittleEndian.AppendUint64(nil, codeAt))
	if e, again := v.signal(unix.SIGILL, 6, 0, 0); !again {
		t.Fatalf("no exception: %+v", e)
	}
	if v.vm.mem.stale.Len() < 64 {
		t.Error("mapped where nobody looks for kicks")
	}
	v.Kick()
	if e, err := v.Run(); err != nil || e.Kind != platform.ExitInterrupted {
		t.Errorf("%+v, %v", e, err)
	}
}

// TestNamespacesAreNotGivenUp: only a host that refuses namespaces has its guests run
// without.
func TestNamespacesAreNotGivenUp(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{{unix.EPERM, false}, {unix.ENOSPC, false}, {unix.EMFILE, true}, {unix.ENOMEM, true}, {errStarved, true}, {nil, true}} {
		p, tries := Platform{}, 0
		err := p.probe(func() error {
			if tries++; tries == 1 {
				return c.err
			}
			return nil
		})
		if p.namespaces != c.want || (err == nil) != (c.err == nil || !c.want) {
			t.Errorf("%v: namespaces %v, %v", c.err, p.namespaces, err)
		}
	}
}

// TestTraceScope: where nobody may look into another process the platform says so.
func TestTraceScope(t *testing.T) {
	h := platform.Host{Proc: t.TempDir()}
	for setting, want := range map[string]bool{"": true, "0\n": true, "1\n": true, "2\n": true, "3\n": false} {
		at := h.ProcFile("sys/kernel/yama/ptrace_scope")
		if err := errors.Join(os.MkdirAll(filepath.Dir(at), 0o755), os.WriteFile(at, []byte(setting), 0o644)); err != nil {
			t.Fatal(err)
		}
		if err := canTrace(h); (err == nil) != want {
			t.Errorf("%q: %v", setting, err)
		}
	}
}

// TestNoHugePages: neither the monitor nor the guest's process has huge pages where none are
// wanted, whatever the host gives to those who do not ask.
func TestNoHugePages(t *testing.T) {
	p := testPlatform(t)
	p.small = true
	v := newVictim(t, p)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", v.proc().pid))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(status), "THP_enabled:") {
		t.Skip("skipped where the kernel does not say it")
	}
	if !strings.Contains(string(status), "THP_enabled:\t0") {
		t.Errorf("%s", status)
	}
}
