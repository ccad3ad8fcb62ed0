package instance

import (
	"bytes"
	"cmp"
	"fmt"
	"os"

	"seuss/guest"
	"seuss/lineage"
	"seuss/vmm"
	"seuss/vmm/platform"
)

// record is all that an instance can see.
type record struct {
	memory []byte
	state  *vmm.State
}

func (b *lawBench) record(vm *VM) *record {
	b.Helper()
	return &record{memory: contents(vm.m.Memory()), state: b.state(vm)}
}

func (b *lawBench) state(vm *VM) *vmm.State {
	b.Helper()
	state, err := vm.m.Capture()
	if err != nil {
		b.Fatal(err)
	}
	return state
}

// check compares a VM with a record: every byte of memory, the identity page
// included, which only the next request writes, and the whole machine state.
func (b *lawBench) check(vm *VM, want *record, what string) {
	b.Helper()
	mem := contents(vm.m.Memory())
	b.sameInProcess(vm, mem, what)
	if !bytes.Equal(mem, want.memory) {
		pages := differing(mem, want.memory)
		b.Fatalf("%s: %d pages differ, the first is %#x", what, len(pages), pages[0])
	}
	if got := b.state(vm); !got.Equal(want.state) {
		b.Fatalf("%s: the machine state differs:\n%+v\nwant\n%+v", what, got, want.state)
	}
}

// differing compares everything: it is the oracle for all that is cleverer.
func differing(a, b []byte) (pages []uint64) {
	for page := uint64(0); page < uint64(len(a))/lineage.PageSize; page++ {
		if !bytes.Equal(pageOf(a, page), pageOf(b, page)) {
			pages = append(pages, page)
		}
	}
	return pages
}

// records brings a fresh machine to every node; what it then holds must be what
// the node's view and state say.
func (b *lawBench) records(vm *VM) map[string]*record {
	b.Helper()
	records := map[string]*record{}
	for _, name := range b.order {
		b.bring(vm, name)
		t := b.nodes[name]
		r := b.record(vm)
		for page := range t.View.Pages() {
			want := t.View.Bytes(page)
			if want == nil {
				want = guest.ZeroPage[:]
			}
			if !bytes.Equal(pageOf(r.memory, page), want) {
				b.Fatalf("%s: page %#x is not what the node holds", name, page)
			}
		}
		if !r.state.Equal(t.State) {
			b.Fatalf("%s: the machine state is not what the node holds:\n%+v\nwant\n%+v", name, r.state, t.State)
		}
		records[name] = r
	}
	return records
}

// dataSelector is a data segment that a guest's program can load, in hexadecimal:
// its own table's, or as a process that of Linux.
func dataSelector(p platform.Platform) string {
	return fmt.Sprintf("%02x", cmp.Or(p.Capabilities().ForeignData, guest.SelData3))
}

// changedRegisters reports whether the mutation which is about them has come so far.
func (b *lawBench) changedRegisters(vm *VM, name string) bool {
	b.Helper()
	var now platform.CPUState
	if err := vm.m.VM().VCPU().State(&now); err != nil {
		b.Fatal(err)
	}
	was := &b.nodes[name].State.CPU
	const mxcsr = 24 // in the XSAVE area, Intel SDM vol. 1, table 10-2
	b.Logf("%s: DS %#x to %#x, GS base %#x to %#x, MXCSR %x to %x, flags %#x to %#x", name, was.Special.DS.Selector, now.Special.DS.Selector,
		was.Special.GS.Base, now.Special.GS.Base, was.XSave[mxcsr:mxcsr+2], now.XSave[mxcsr:mxcsr+2], was.Regs.RFLAGS, now.Regs.RFLAGS)
	return !bytes.Equal(was.XSave[mxcsr:mxcsr+2], now.XSave[mxcsr:mxcsr+2]) && (!b.host.Platform.CPU().FSGSBASE || was.Special.GS.Base != now.Special.GS.Base)
}

// contents copies all that the guest sees, without changing any of it.
func contents(m *vmm.Memory) []byte {
	out := make([]byte, 0, m.Pages()*guest.PageSize)
	for page := range m.Pages() {
		out = append(out, m.Page(page)...)
	}
	return out
}

// sameInProcess compares with what a guest that is a process really sees, where
// it has looked: looking for it would make pages of its own.
func (b *lawBench) sameInProcess(vm *VM, mem []byte, what string) {
	b.Helper()
	pid := vm.m.VM().Process()
	if pid == os.Getpid() {
		return
	}
	f, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	pagemap, err := os.Open(fmt.Sprintf("/proc/%d/pagemap", pid))
	if err != nil {
		b.Fatal(err)
	}
	defer pagemap.Close()
	entries := make([]byte, len(mem)/guest.PageSize*8)
	if _, err := pagemap.ReadAt(entries, 0); err != nil {
		b.Fatal(err)
	}
	page := make([]byte, guest.PageSize)
	for at := int64(guest.LowGPA); at < int64(len(mem)); at += guest.PageSize {
		const present = 0x80 // bit 63, Documentation/admin-guide/mm/pagemap.rst
		if entries[at/guest.PageSize*8+7]&present == 0 {
			continue
		}
		if _, err := f.ReadAt(page, at); err != nil {
			b.Fatalf("%s: the process's memory at %#x: %v", what, at, err)
		}
		if !bytes.Equal(page, mem[at:at+guest.PageSize]) {
			b.Fatalf("%s: the guest's process sees another page at %#x than the monitor", what, at)
		}
	}
}
