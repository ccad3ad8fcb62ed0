package fake_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"seuss/guest"
	"seuss/vmm"
	"seuss/vmm/platform/fake"
	"seuss/vmm/vmmtest/testguest"
	"seuss/vmm/vsock"
)

// newMachine boots a machine, with the tests' guest for a kernel library.
func newMachine(t *testing.T, p *fake.Platform) *vmm.Machine {
	t.Helper()
	m, err := vmm.NewMachine(p, vmm.Config{RAMBytes: 16 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := errors.Join(m.Memory().Write(guest.KernelGPA, testguest.Binary), m.ColdBoot(vmm.BootConfig{Args: []string{"x"}})); err != nil {
		t.Fatal(err)
	}
	return m
}

func open(t *testing.T, g fake.Guest) *fake.Platform {
	t.Helper()
	p, err := fake.New(fake.Options{Guest: g})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func run(t *testing.T, m *vmm.Machine, o vmm.RunOptions, want vmm.StopKind) vmm.Stop {
	t.Helper()
	if o.Deadline.IsZero() {
		o.Deadline = time.Now().Add(20 * time.Second)
	}
	stop, err := m.Run(o)
	if err != nil || stop.Kind != want {
		t.Fatalf("stopped with %v (%+v), %v; want %v", stop.Kind, stop, err, want)
	}
	return stop
}

// counter answers every frame with how many there were, from its memory.
func counter(c *fake.CPU) {
	s := c.Vsock().Stream(guest.DriverPort)
	if c.Word(0) == 0 {
		c.SetWord(0, 1)
		s.WriteFrame(guest.MsgReady, nil)
	}
	for {
		kind, payload := s.ReadFrame()
		if kind == 0 {
			c.Exit(3)
		}
		c.SetWord(1, c.Word(1)+1)
		c.Print(1, "served\n")
		s.WriteFrame(guest.MsgResult, fmt.Appendf(payload, " %d", c.Word(1)))
	}
}

// TestKickBeforeRest: what is delivered to a guest that has looked at its queues, and is
// stopped on its way to the idle doorbell, does not wait for something else to happen.
func TestKickBeforeRest(t *testing.T) {
	spins := make(chan struct{})
	m := newMachine(t, open(t, func(c *fake.CPU) {
		c.Vsock().Listen(7)
		close(spins)
		c.Spin()
		c.Doorbell(guest.DoorbellIdle, 0)
		c.Exit(0)
	}))
	go func() {
		<-spins
		if _, err := m.Vsock().Dial(7); err != nil {
			t.Error(err)
		}
	}()
	run(t, m, vmm.RunOptions{Wait: vmm.WaitEvents}, vmm.StopExit)
}

// TestStoppedBeforeRest: the same, where Run has returned in between.
func TestStoppedBeforeRest(t *testing.T) {
	m := newMachine(t, open(t, func(c *fake.CPU) {
		c.Vsock().Listen(7)
		c.Spin()
		c.Doorbell(guest.DoorbellIdle, 0)
		c.Exit(0)
	}))
	run(t, m, vmm.RunOptions{Wait: vmm.WaitEvents, Deadline: time.Now().Add(20 * time.Millisecond)}, vmm.StopTimeout)
	if _, err := m.Vsock().Dial(7); err != nil {
		t.Fatal(err)
	}
	run(t, m, vmm.RunOptions{Wait: vmm.WaitEvents}, vmm.StopExit)
}

// driver is the host's side of counter.
type driver struct {
	t *testing.T
	m *vmm.Machine
	c *vsock.Conn
}

func (d *driver) answer() string {
	d.t.Helper()
	var got []byte
	run(d.t, d.m, vmm.RunOptions{Wait: vmm.WaitEvents, Done: func() bool {
		got = append(got, d.c.Take()...)
		return len(got) >= guest.FrameHeader && len(got) == guest.FrameHeader+int(got[0])
	}}, vmm.StopDone)
	return string(got[guest.FrameHeader:])
}

func (d *driver) call(text string) string {
	d.t.Helper()
	if err := d.c.Send(append([]byte{byte(len(text)), 0, 0, 0, guest.MsgInvoke}, text...)); err != nil {
		d.t.Fatal(err)
	}
	return d.answer()
}

func start(t *testing.T, p *fake.Platform) *driver {
	t.Helper()
	d := &driver{t: t, m: newMachine(t, p)}
	if err := d.m.Vsock().Listen(guest.DriverPort, func(c *vsock.Conn) error { d.c = c; return nil }); err != nil {
		t.Fatal(err)
	}
	run(t, d.m, vmm.RunOptions{Wait: vmm.WaitEvents, Done: func() bool { return d.c != nil && len(d.c.Take()) > 0 }}, vmm.StopDone)
	run(t, d.m, vmm.RunOptions{}, vmm.StopIdle)
	return d
}

// TestCaptureAndRestore: a snapshot of a guest with an open stream is the guest, on its
// own machine and on another one.
func TestCaptureAndRestore(t *testing.T) {
	p := open(t, counter)
	a := start(t, p)
	if got := a.call("one"); got != "one 1" {
		t.Fatal(got)
	}
	run(t, a.m, vmm.RunOptions{}, vmm.StopIdle)
	s, err := a.m.Capture()
	if err != nil {
		t.Fatal(err)
	}
	ram := bytes.Clone(a.m.Memory().Bytes())
	b := start(t, p)
	for _, d := range []*driver{a, b} {
		for range 2 {
			d.call("before")
			if err := d.m.Settle(); err != nil {
				t.Fatal(err)
			}
			copy(d.m.Memory().Bytes(), ram)
			if err := errors.Join(d.m.Restore(s), d.m.WriteIdentity(vmm.Identity{})); err != nil {
				t.Fatal(err)
			}
			again, err := d.m.Capture()
			if err != nil || !again.Vsock.Equal(&s.Vsock) || !again.CPU.Equal(&s.CPU) {
				t.Errorf("the state after a restore is another one: %v", err)
			}
			d.c = d.m.Vsock().Conns()[0]
			if got := d.call("two"); got != "two 2" {
				t.Errorf("after a restore: %q", got)
			}
		}
	}
	if open, made := p.Machines(); open != 2 || made != 2 {
		t.Errorf("%d machines of %d", open, made)
	}
}

// TestLargeMessages: streams keep to the credit of either side.
func TestLargeMessages(t *testing.T) {
	const n = 700 << 10
	p := open(t, func(c *fake.CPU) {
		s := c.Vsock().Stream(9)
		for left := n; left > 0; {
			left -= len(s.Read(left))
		}
		s.Write(bytes.Repeat([]byte("y"), n))
		s.Close()
		for s.Read(1) != nil {
		}
	})
	m := newMachine(t, p)
	var got int
	var c *vsock.Conn
	if err := m.Vsock().Listen(9, func(x *vsock.Conn) error { c = x; return c.Send(bytes.Repeat([]byte("x"), n)) }); err != nil {
		t.Fatal(err)
	}
	run(t, m, vmm.RunOptions{Wait: vmm.WaitEvents, Done: func() bool {
		if c != nil {
			got += len(c.Take())
		}
		return got == n
	}}, vmm.StopDone)
}

func TestEnds(t *testing.T) {
	for _, e := range []struct {
		guest fake.Guest
		want  vmm.StopKind
	}{
		{func(c *fake.CPU) {}, vmm.StopIdle},
		{func(c *fake.CPU) { c.Exit(3) }, vmm.StopExit},
		{func(c *fake.CPU) { c.Fault(11) }, vmm.StopFault},
		{func(c *fake.CPU) { c.Panic("help") }, vmm.StopPanic},
		{func(c *fake.CPU) { c.Crash() }, vmm.StopCrash},
		{func(c *fake.CPU) { c.Store(guest.DeviceGPA+0x5000, 1) }, vmm.StopCrash},
	} {
		m := newMachine(t, open(t, e.guest))
		stop := run(t, m, vmm.RunOptions{}, e.want)
		_ = m.CrashReport(stop, nil).String()
	}
	m := newMachine(t, open(t, func(c *fake.CPU) { c.Die() }))
	if _, err := m.Run(vmm.RunOptions{}); err == nil {
		t.Error("a machine that died ran")
	}
	if m.VM().Alive() {
		t.Error("a machine that died is alive")
	}
}

// TestKick: a guest that computes is stopped at its deadline and by Interrupt, goes on,
// and is another instance when it is made one: then its deferred functions run.
func TestKick(t *testing.T) {
	unwound := make(chan bool, 1)
	m := newMachine(t, open(t, func(c *fake.CPU) {
		if c.Word(0) == 0 {
			c.SetWord(0, 1)
			return
		}
		defer func() { unwound <- true }()
		for {
			c.Spin()
		}
	}))
	run(t, m, vmm.RunOptions{}, vmm.StopIdle)
	s, err := m.Capture()
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		run(t, m, vmm.RunOptions{Deadline: time.Now().Add(2 * time.Millisecond)}, vmm.StopTimeout)
	}
	go m.Interrupt()
	run(t, m, vmm.RunOptions{}, vmm.StopInterrupted)
	if err := m.Restore(s); err != nil {
		t.Fatal(err)
	}
	if !<-unwound {
		t.Error("the guest goes on")
	}
}

func TestConsoleAndTimer(t *testing.T) {
	var out bytes.Buffer
	p := open(t, func(c *fake.CPU) {
		c.Print(1, "hello")
		c.SetTimer(c.Identity().MonoNS + uint64(time.Millisecond))
		c.Wait()
		c.SetTimer(0)
		c.Print(2, "again")
	})
	m, err := vmm.NewMachine(p, vmm.Config{RAMBytes: 16 << 20, Console: func(fd uint16, b []byte) { fmt.Fprintf(&out, "%d%s", fd, b) }})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := errors.Join(m.Memory().Write(guest.KernelGPA, testguest.Binary), m.ColdBoot(vmm.BootConfig{Args: []string{"x"}})); err != nil {
		t.Fatal(err)
	}
	run(t, m, vmm.RunOptions{Wait: vmm.WaitTimers}, vmm.StopIdle)
	if out.String() != "1hello2again" {
		t.Errorf("console %q", out.String())
	}
}
