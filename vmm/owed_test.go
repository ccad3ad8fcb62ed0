package vmm

import (
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"seuss/guest"
	"seuss/vmm/platform"
	"seuss/vmm/platform/fake"
	"seuss/vmm/vmmtest/testguest"
)

// slowFar is a backing whose far window takes many steps.
type slowFar struct {
	platform.Backing
	left, done int
}

func (b *slowFar) MapFar([]platform.FarRange, bool) error {
	b.left = 1000
	return nil
}

func (b *slowFar) FarStep() (bool, error) {
	time.Sleep(100 * time.Microsecond)
	b.left--
	b.done++
	return b.left > 0, nil
}

// TestFarListEndsAtDeadline: a list of far mappings that takes longer than the deadline is
// left where it stands, and the next Run goes on with it before the guest does.
func TestFarListEndsAtDeadline(t *testing.T) {
	const went = 0x500000 // a word that shows how far the guest has come
	p, err := fake.New(fake.Options{Guest: func(c *fake.CPU) {
		if c.Word(0) != 0 {
			return
		}
		c.SetWord(0, 1)
		c.Write(guest.ControlGPA+guest.ControlFarUsed, []byte{1})
		c.Doorbell(guest.DoorbellFar, 0)
		c.Write(went, []byte{1})
	}})
	if err != nil {
		t.Fatal(err)
	}
	m, err := NewMachine(p, Config{RAMBytes: 16 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	b := &slowFar{Backing: m.mem.backing}
	m.mem.backing = b
	if err := errors.Join(m.mem.Write(guest.KernelGPA, testguest.Binary), m.ColdBoot(BootConfig{Args: []string{"x"}})); err != nil {
		t.Fatal(err)
	}
	run := func(limit time.Duration, want StopKind) {
		t.Helper()
		stop, err := m.Run(RunOptions{Deadline: time.Now().Add(limit)})
		if err != nil || stop.Kind != want {
			t.Fatalf("stopped with %v, %v; want %v", stop, err, want)
		}
	}
	gone := func() bool { return binary.LittleEndian.Uint32(m.mem.Page(went/pageSize)) != 0 }
	for m.stats.Doorbells == 0 { // on a busy host deadlines pass before it has rung
		run(time.Millisecond, StopTimeout)
	}
	m.Interrupt()
	run(time.Minute, StopInterrupted)
	run(time.Millisecond, StopTimeout)
	if b.done == 0 || b.left == 0 || gone() {
		t.Errorf("after a deadline %d steps are done and %d left; the guest went on: %v", b.done, b.left, gone())
	}
	run(time.Minute, StopIdle)
	if b.left != 0 || !gone() {
		t.Errorf("%d steps are left, and the guest went on: %v", b.left, gone())
	}
}
