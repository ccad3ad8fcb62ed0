package vmm_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"seuss/guest"
	"seuss/vmm"
)

// farBench is a guest that maps what it is told in the far window, and goes there.
type farBench struct {
	*bench
	mapped map[uint64]uint64 // page of the window, page of memory
}

const (
	farListAt   vmm.GPA = 0x410000
	farFirst            = guest.FarBase / guest.PageSize
	farRAM              = 0x480 // pages that are mapped, far from everything else
	farRAMPages         = 200
)

// list puts a list into the guest's memory, and expects what it says.
func (b *farBench) list(ranges []guest.Far) {
	b.t.Helper()
	b.write(ranges)
	b.want(ranges)
}

func (b *farBench) write(ranges []guest.Far) {
	b.t.Helper()
	if len(ranges) > 0 {
		if err := b.Memory().WriteStruct(farListAt, ranges); err != nil {
			b.t.Fatal(err)
		}
	}
	b.setU64(guest.ControlGPA+guest.ControlFarGPA, uint64(farListAt))
	b.setU64(guest.ControlGPA+guest.ControlFarCount, 1<<32|uint64(len(ranges)))
}

func (b *farBench) want(ranges []guest.Far) {
	clear(b.mapped)
	for _, r := range ranges {
		for n := range uint64(r.Count) {
			if r.Open != 0 {
				b.mapped[r.First+n] = r.RAM + n
			}
		}
	}
}

// access has the guest ring, if it is to, and replace the word at an address.
func (b *farBench) access(ring bool, address, value uint64) (old uint64, fault bool) {
	b.t.Helper()
	var code []byte
	set := func(op []byte, v uint64) { code = binary.LittleEndian.AppendUint64(append(code, op...), v) }
	if ring {
		set([]byte{0x48, 0xb9}, guest.DoorbellGPA+guest.DoorbellFar) // mov $, %rcx
		code = append(code, 0x89, 0x01)                              // mov %eax, (%rcx)
	}
	set([]byte{0x48, 0xbf}, address)                 // mov $, %rdi
	set([]byte{0x48, 0xbe}, value)                   // mov $, %rsi
	code = append(code, 0x48, 0x8b, 0x07)            // mov (%rdi), %rax
	code = append(code, 0x48, 0x89, 0x37)            // mov %rsi, (%rdi)
	set([]byte{0x48, 0xb9}, uint64(mailResult))      // mov $, %rcx
	code = append(code, 0x48, 0x89, 0x01, 0x0f, 0xb) // mov %rax, (%rcx); ud2
	b.program(code...)
	b.check(b.command(cmdProgram), vmm.StopIdle)
	switch vector := b.u64(mailVector); vector {
	case 6:
		return b.u64(mailResult), false
	case 14:
		if at, err := b.VM().VCPU().FaultAddress(); err != nil || at != address {
			b.t.Fatalf("a fault at %#x (%v), not %#x", at, err, address)
		}
		return 0, true
	default:
		b.t.Fatalf("exception %d", vector)
		return 0, false
	}
}

// probe goes to a page and compares with what should be there.
func (b *farBench) probe(ring bool, page uint64, r *rand.Rand, after string) {
	b.t.Helper()
	off := r.Uint64N(512) * 8
	ram, mapped := b.mapped[page]
	value, want := r.Uint64(), uint64(0)
	if mapped {
		want = b.u64(vmm.GPA(ram*guest.PageSize + off))
	}
	old, fault := b.access(ring, page*guest.PageSize+off, value)
	switch {
	case fault == mapped:
		b.t.Fatalf("%s: page %#x faults: %v, want %v", after, page, fault, !mapped)
	case mapped && (old != want || b.u64(vmm.GPA(ram*guest.PageSize+off)) != value):
		b.t.Fatalf("%s: page %#x held %#x, page %#x of memory %#x", after, page, old, ram, want)
	}
}

// anyList is a list that a guest could have, now and then one with nothing in it.
func anyList(r *rand.Rand) (ranges []guest.Far) {
	if r.IntN(8) == 0 {
		return nil
	}
	for at := uint64(farFirst) + 500 + r.Uint64N(20); at < farFirst+600; at += 1 + r.Uint64N(30) {
		n := 1 + r.Uint64N(20)
		ranges = append(ranges, guest.Far{First: at, RAM: farRAM + r.Uint64N(farRAMPages-n), Count: uint32(n), Open: uint32(r.IntN(6))})
		at += n
	}
	if r.IntN(3) == 0 { // at the other end
		ranges = append(ranges, guest.Far{First: farFirst + guest.FarBytes/guest.PageSize - 1, RAM: farRAM, Count: 1, Open: 1})
	}
	return ranges
}

// TestFarWindow: the guest finds in the far window what its list says, as soon as it
// has rung and after every restore, and nothing else.
func TestFarWindow(t *testing.T) {
	b := &farBench{bench: newBench(t), mapped: map[uint64]uint64{}}
	r := rand.New(rand.NewPCG(11, 12))
	anyPage := func() uint64 {
		if r.IntN(10) == 0 {
			return farFirst + guest.FarBytes/guest.PageSize - 1
		}
		return farFirst + 495 + r.Uint64N(120)
	}
	b.probe(false, anyPage(), r, "before anything is mapped")
	type node struct {
		state  *vmm.State
		ram    []byte
		ranges []guest.Far
	}
	var nodes []node
	for range 4 {
		ranges := anyList(r)
		b.list(ranges)
		b.probe(true, anyPage(), r, "before a capture")
		n := node{state: b.state(), ranges: ranges}
		for page := range b.Memory().Pages() {
			n.ram = append(n.ram, b.Memory().Page(page)...)
		}
		nodes = append(nodes, n)
	}
	limit := time.Now().Add(testTime)
	for round := 0; round < 60 && time.Now().Before(limit); round++ {
		for range 1 + r.IntN(3) {
			ranges := anyList(r)
			b.list(ranges)
			for k := range 4 {
				b.probe(k == 0, anyPage(), r, fmt.Sprintf("round %d, after %+v", round, ranges))
			}
		}
		if r.IntN(3) == 0 { // nobody is told of this
			b.list(anyList(r))
		}
		if r.IntN(3) == 0 { // it goes to what it has just lost
			b.setU64(guest.ControlGPA+guest.ControlFarUsed, 0)
		}
		if err := b.Settle(); err != nil {
			t.Fatal(err)
		}
		n := nodes[r.IntN(len(nodes))]
		for page := range b.Memory().Pages() {
			if was := n.ram[page*guest.PageSize : (page+1)*guest.PageSize]; !bytes.Equal(b.Memory().Page(page), was) {
				copy(b.Memory().Bytes()[page*guest.PageSize:], was)
			}
		}
		if err := b.Restore(n.state); err != nil {
			t.Fatal(err)
		}
		if err := b.WriteIdentity(vmm.Identity{}); err != nil {
			t.Fatal(err)
		}
		b.want(n.ranges)
		for range 6 {
			b.probe(false, anyPage(), r, fmt.Sprintf("round %d, restored to %+v", round, n.ranges))
		}
	}
	if pid := b.VM().Process(); pid != os.Getpid() {
		maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
		if lines := bytes.Count(maps, []byte("\n")); err != nil || lines > 100 {
			t.Errorf("the guest's process has %d mappings (%v)", lines, err)
		}
	}
}

// TestHostileFarList: what a guest writes into its list hurts only itself.
func TestHostileFarList(t *testing.T) {
	b := &farBench{bench: newBench(t), mapped: map[uint64]uint64{}}
	r := rand.New(rand.NewPCG(13, 14))
	pages := b.Memory().Pages()
	for range 40 {
		var ranges []guest.Far
		for range guest.FarMax {
			ranges = append(ranges, guest.Far{First: farFirst + r.Uint64N(1<<r.IntN(34)), RAM: r.Uint64N(pages + 10), Count: uint32(r.Uint64N(1 << r.IntN(33))), Open: r.Uint32()})
		}
		if r.IntN(2) == 0 { // one that is followed to its end, of all pages there are
			for i := range ranges {
				ranges[i] = guest.Far{First: farFirst + uint64(i)*4321, RAM: guest.LowGPA/guest.PageSize + uint64(i), Count: 3, Open: 1}
			}
		}
		b.write(ranges)
		b.setU64(guest.ControlGPA+guest.ControlFarCount, 1<<32|r.Uint64N(2*guest.FarMax))
		b.access(true, guest.FarBase+r.Uint64N(guest.FarBytes-8), 1)
	}
	for _, at := range []uint64{0, 1 << 12, b.Memory().Pages()*guest.PageSize - 100, 1 << 40, 1<<64 - 8} {
		b.setU64(guest.ControlGPA+guest.ControlFarGPA, at)
		b.access(true, guest.FarBase, 1)
	}
	b.list(nil)
	if _, fault := b.access(true, guest.FarBase+4321*guest.PageSize, 1); !fault {
		t.Error("something is left of the list")
	}
}
