package vmm_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
	"time"

	"seuss/guest"
	"seuss/vmm"
	"seuss/vmm/vmmtest"
)

// What a guest rings takes the host's time. However it rings, Run looks at its
// deadline and whether it is interrupted.

const (
	listGPA    = 0x500000 // ranges that are given back
	listRanges = 16       // how many: they take a hundred times a deadline of 1 ms
	fileFirst  = 0x800    // page from which a file is mapped, up to the page of
	markPage   = 0x3800   // a word that shows how far the monitor has come
)

// newHoarder is a machine with a file of zeros mapped over most of its memory, so
// that to give that back means to look at every page of it.
func newHoarder(t *testing.T) *bench {
	t.Helper()
	path := filepath.Join(t.TempDir(), "zeros")
	if err := os.WriteFile(path, make([]byte, (markPage-fileFirst)*guest.PageSize), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	p := vmmtest.Require(t)
	b := &bench{t: t, p: p}
	if b.Machine, err = vmm.NewMachine(p, vmm.Config{RAMBytes: 64 << 20, ImageBytes: testImage}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Machine.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := b.Memory().MapFile(fileFirst, markPage-fileFirst, f, 0); err != nil {
		t.Fatal(err)
	}
	b.load()
	if err := b.ColdBoot(vmm.BootConfig{Args: []string{"test"}}); err != nil {
		t.Fatal(err)
	}
	b.expect(vmm.StopIdle)
	return b
}

// list writes a list of so many times all of the file's pages, and after them the
// page of the mark.
func (b *bench) list(n int) {
	b.t.Helper()
	var ranges []byte
	add := func(first, count uint64) {
		ranges = binary.LittleEndian.AppendUint64(ranges, first)
		ranges = binary.LittleEndian.AppendUint64(ranges, count)
	}
	for range n - 1 {
		add(fileFirst, markPage-fileFirst)
	}
	add(markPage, 1)
	if err := b.Memory().Write(listGPA, ranges); err != nil {
		b.t.Fatal(err)
	}
	b.setU64(guest.ControlGPA+guest.ControlGiveGPA, listGPA)
	b.setU64(markPage*guest.PageSize, 1)
}

// ring is code that stores value to a doorbell, once or for ever.
func ring(doorbell uint8, value uint32, forever bool) []byte {
	code := binary.LittleEndian.AppendUint32([]byte{0xc7, 0x42, doorbell}, value) // movl $value, doorbell(%rdx)
	if forever {
		return append(code, 0xeb, 0xf7)
	}
	return append(code, 0xc7, 0x42, guest.DoorbellIdle, 0, 0, 0, 0, 0xeb, 0xf7) // and rest
}

// ringAndStop has the guest ring for the list, and stops before all of it is done. On
// a busy host deadlines pass before it has rung.
func (b *bench) ringAndStop() {
	b.t.Helper()
	b.program(ring(guest.DoorbellGive, listRanges, false)...)
	if err := b.Memory().WriteU32(mailbox, cmdProgram); err != nil {
		b.t.Fatal(err)
	}
	for before := b.Stats().Doorbells; b.Stats().Doorbells == before; {
		b.check(b.run(vmm.RunOptions{Deadline: time.Now().Add(time.Millisecond)}), vmm.StopTimeout)
	}
}

// TestGiveListEndsAtDeadline: a list that takes longer than the deadline is left where
// it stands, and the next Run goes on with it before the guest does.
func TestGiveListEndsAtDeadline(t *testing.T) {
	b := newHoarder(t)
	b.list(listRanges)
	b.ringAndStop()
	if b.u64(markPage*guest.PageSize) != 1 {
		t.Fatal("the whole list was done after the deadline")
	}
	rung := b.Stats().Doorbells
	b.Interrupt()
	b.check(b.run(vmm.RunOptions{}), vmm.StopInterrupted)
	b.check(b.run(vmm.RunOptions{Deadline: time.Now().Add(time.Millisecond)}), vmm.StopTimeout)
	if b.u64(markPage*guest.PageSize) != 1 || b.Stats().Doorbells != rung {
		t.Fatalf("the guest went on before its list was done: mark %d, %d doorbells, %d before", b.u64(markPage*guest.PageSize), b.Stats().Doorbells, rung)
	}
	b.expect(vmm.StopIdle)
	if b.u64(markPage*guest.PageSize) != 0 {
		t.Error("the list was not done")
	}
}

// TestRestoreForgetsAList: what an instance has rung for is not done to the next one.
func TestRestoreForgetsAList(t *testing.T) {
	b := newHoarder(t)
	s := b.state()
	ram := bytes.Clone(b.Memory().Bytes()[:fileFirst*guest.PageSize])
	b.list(listRanges)
	b.ringAndStop()
	if err := b.Settle(); err != nil {
		t.Fatal(err)
	}
	if err := b.Memory().Write(guest.LowGPA, ram[guest.LowGPA:]); err != nil {
		t.Fatal(err)
	}
	if err := b.Restore(s); err != nil {
		t.Fatal(err)
	}
	if err := b.WriteIdentity(vmm.Identity{}); err != nil {
		t.Fatal(err)
	}
	b.expect(vmm.StopIdle)
	if b.u64(markPage*guest.PageSize) != 1 {
		t.Error("a list of the instance before was done")
	}
}

// TestDoorbellsEndAtDeadline: a guest that does nothing but ring is stopped, whatever
// it rings.
func TestDoorbellsEndAtDeadline(t *testing.T) {
	for name, code := range map[string][]byte{
		"console": ring(guest.DoorbellConsole, 1, true),
		"give":    ring(guest.DoorbellGive, listRanges, true),
		"offer":   ring(guest.DoorbellOffer, 0, true),
		"protect": ring(guest.DoorbellProtect, 0, true),
		"far":     ring(guest.DoorbellFar, 0, true),
		"device":  {0xb8, 1, 0, 0, 0, 0x89, 0x82, 0x50, 0x10, 0, 0, 0xeb, 0xf8}, // movl %eax, 0x1050(%rdx): a queue's doorbell
	} {
		t.Run(name, func(t *testing.T) {
			b := newHoarder(t)
			b.list(listRanges)
			b.setU64(guest.ControlGPA+guest.ControlProtect, fileFirst)
			b.setU64(guest.ControlGPA+guest.ControlProtect+8, markPage-fileFirst)
			b.program(code...)
			if err := b.Memory().WriteU32(mailbox, cmdProgram); err != nil {
				t.Fatal(err)
			}
			b.check(b.run(vmm.RunOptions{Deadline: time.Now().Add(20 * time.Millisecond)}), vmm.StopTimeout)
			go b.Interrupt()
			b.check(b.run(vmm.RunOptions{}), vmm.StopInterrupted)
		})
	}
}
