package process

import (
	"encoding/binary"
	"math"
	"testing"

	"golang.org/x/sys/unix"

	"seuss/guest"
	"seuss/vmm/platform"
	"seuss/vmm/platform/process/stub"
)

// newVCPU makes a vCPU whose process is there and whose guest never runs.
func newVCPU(tb testing.TB) *VCPU {
	tb.Helper()
	p, err := New(Options{})
	if err != nil {
		tb.Skip("skipped where guests cannot run as processes:", err)
	}
	vm, err := p.NewVM()
	if err != nil {
		tb.Fatal(err)
	}
	m, err := vm.NewMemory(4<<20, false)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { vm.Close(); m.Close(); p.Close() })
	return vm.VCPU().(*VCPU)
}

// put writes guest memory as the guest would.
func (v *VCPU) put(tb testing.TB, gpa uint64, b []byte) {
	tb.Helper()
	to, ok := v.claim(gpa, uint64(len(b)))
	if !ok {
		tb.Fatalf("claim %d bytes at %#x", len(b), gpa)
	}
	copy(to, b)
}

const codeAt = 0x100000 // where these tests put the guest's instructions

// number gives each general register a value of its own: ah is not a register
// whose bytes another one has.
func number(r *platform.Regs) {
	for i, at := range [...]*uint64{&r.RAX, &r.RCX, &r.RDX, &r.RBX, &r.RSP, &r.RBP, &r.RSI, &r.RDI,
		&r.R8, &r.R9, &r.R10, &r.R11, &r.R12, &r.R13, &r.R14, &r.R15} {
		*at = 0x8f7e6d5c4b3a2910 + uint64(i)*0x0101010101010101
	}
}

func TestDeviceAccesses(t *testing.T) {
	v := newVCPU(t)
	const at = uint64(guest.DeviceGPA) + 0x2040 // beyond the doorbells' page
	var r platform.Regs
	number(&r)
	for _, c := range []struct {
		name string
		code []byte
		want platform.Exit
	}{
		{"mov %al, (%rdx)", []byte{0x88, 0x02}, platform.Exit{Kind: platform.ExitMMIOWrite, Size: 1, Value: r.RAX & 0xff}},
		{"mov %ah, (%rdx)", []byte{0x88, 0x22}, platform.Exit{Kind: platform.ExitMMIOWrite, Size: 1, Value: r.RAX >> 8 & 0xff}},
		{"mov %spl, (%rdx)", []byte{0x40, 0x88, 0x22}, platform.Exit{Kind: platform.ExitMMIOWrite, Size: 1, Value: r.RSP & 0xff}},
		{"mov %r9w, (%rdx)", []byte{0x66, 0x44, 0x89, 0x0a}, platform.Exit{Kind: platform.ExitMMIOWrite, Size: 2, Value: r.R9 & 0xffff}},
		{"mov %esi, (%rdx)", []byte{0x89, 0x32}, platform.Exit{Kind: platform.ExitMMIOWrite, Size: 4, Value: r.RSI & math.MaxUint32}},
		{"mov %rdi, (%rdx)", []byte{0x48, 0x89, 0x3a}, platform.Exit{Kind: platform.ExitMMIOWrite, Size: 8, Value: r.RDI}},
		{"movl $-2, (%rdx)", []byte{0xc7, 0x02, 0xfe, 0xff, 0xff, 0xff}, platform.Exit{Kind: platform.ExitMMIOWrite, Size: 4, Value: 0xfffffffe}},
		{"movq $-2, (%rdx)", []byte{0x48, 0xc7, 0x02, 0xfe, 0xff, 0xff, 0xff}, platform.Exit{Kind: platform.ExitMMIOWrite, Size: 8, Value: 0xfffffffffffffffe}},
		{"mov (%rdx), %eax", []byte{0x8b, 0x02}, platform.Exit{Kind: platform.ExitMMIORead, Size: 4}},
		{"mov (%rdx), %r15", []byte{0x4c, 0x8b, 0x3a}, platform.Exit{Kind: platform.ExitMMIORead, Size: 8}},
		{"xchg %eax, (%rdx)", []byte{0x87, 0x02}, platform.Exit{Kind: platform.ExitInternalError, Value: uint64(unix.SIGSEGV), Detail: at}},
		{"mov %ds, (%rdx)", []byte{0x8c, 0x1a}, platform.Exit{Kind: platform.ExitInternalError, Value: uint64(unix.SIGSEGV), Detail: at}},
		{"mov (%rdx), %ah", []byte{0x8a, 0x22}, platform.Exit{Kind: platform.ExitInternalError, Value: uint64(unix.SIGSEGV), Detail: at}},
		{"movaps %xmm0, (%rdx)", []byte{0x0f, 0x29, 0x02}, platform.Exit{Kind: platform.ExitInternalError, Value: uint64(unix.SIGSEGV), Detail: at}},
		{"half an instruction", []byte{0x48}, platform.Exit{Kind: platform.ExitInternalError, Value: uint64(unix.SIGSEGV), Detail: at}},
	} {
		t.Run(c.name, func(t *testing.T) {
			where := uint64(len(v.vm.mem.window)) - uint64(len(c.code)) // nothing follows
			v.put(t, where, c.code)
			number(&v.state.Regs)
			v.state.Regs.RIP = where
			got, again := v.signal(unix.SIGSEGV, vecPageFault, 0, at)
			want := c.want
			if want.Kind == platform.ExitMMIORead || want.Kind == platform.ExitMMIOWrite {
				want.GPA = guest.GPA(at)
			}
			if (got.Why != "") != (got.Kind == platform.ExitInternalError) {
				t.Errorf("in words: %q", got.Why)
			}
			got.Why = ""
			if got != want || again {
				t.Errorf("%+v, runs on: %v; want %+v", got, again, want)
			}
		})
	}
}

// TestDeviceLoads completes loads: each changes its register as the processor
// would, and no other.
func TestDeviceLoads(t *testing.T) {
	v := newVCPU(t)
	for _, c := range []struct {
		name string
		code []byte
		want func(r *platform.Regs)
	}{
		{"mov (%rdx), %bl", []byte{0x8a, 0x1a}, func(r *platform.Regs) { r.RBX = r.RBX&^0xff | 0x88 }},
		{"mov (%rdx), %bx", []byte{0x66, 0x8b, 0x1a}, func(r *platform.Regs) { r.RBX = r.RBX&^0xffff | 0x7788 }},
		{"mov (%rdx), %ebx", []byte{0x8b, 0x1a}, func(r *platform.Regs) { r.RBX = 0x55667788 }},
		{"mov (%rdx), %r12", []byte{0x4c, 0x8b, 0x22}, func(r *platform.Regs) { r.R12 = 0x1122334455667788 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			v.put(t, codeAt, c.code)
			number(&v.state.Regs)
			v.state.Regs.RIP = codeAt
			want := v.state.Regs
			if e, again := v.signal(unix.SIGSEGV, vecPageFault, 0, uint64(guest.DeviceGPA)+0x2000); e.Kind != platform.ExitMMIORead || again {
				t.Fatalf("%+v, runs on: %v", e, again)
			}
			v.CompleteRead(0x1122334455667788)
			c.want(&want)
			want.RIP = codeAt + uint64(len(c.code))
			if v.state.Regs != want {
				t.Errorf("registers %+v, want %+v", v.state.Regs, want)
			}
		})
	}
}

// FuzzExit gives the monitor what a guest that has taken its stub over may put
// into the area, with any code at its instruction pointer and any gates in its
// memory: every answer is one that the machine above knows how to treat, and
// the monitor writes within guest memory only.
func FuzzExit(f *testing.F) {
	word := func(values ...uint64) []byte {
		var b []byte
		for _, v := range values {
			b = binary.LittleEndian.AppendUint64(b, v)
		}
		return b
	}
	device := uint64(guest.DeviceGPA)
	f.Add(uint32(stub.ReasonSignal), word(uint64(unix.SIGSEGV), vecPageFault, 7, device+8, codeAt, 0), []byte{0x89, 0x02}, []byte{})
	f.Add(uint32(stub.ReasonSignal), word(uint64(unix.SIGSEGV), vecPageFault, 5, device+0x3000, codeAt, 0), []byte{0x4c, 0x8b, 0x3a}, []byte{})
	f.Add(uint32(stub.ReasonSignal), word(uint64(unix.SIGFPE), 0, 0, 0, codeAt, 0), []byte{0xf7, 0xf1}, word(gatePresent|0x1234, 0))
	f.Add(uint32(stub.ReasonSignal), word(uint64(unix.SIGBUS), vecPageFault, 0, 0x30000, ^uint64(0), 0), []byte{}, []byte{})
	f.Add(uint32(stub.ReasonDevice), word(0, 0, 0, 0, 0, 0, ^uint64(0), ^uint64(0)), []byte{}, []byte{})
	f.Add(uint32(stub.ReasonInterrupted), word(), []byte{}, []byte{})

	v := newVCPU(f)
	known := map[platform.ExitKind]bool{platform.ExitDoorbell: true, platform.ExitMMIORead: true, platform.ExitMMIOWrite: true,
		platform.ExitInterrupted: true, platform.ExitInternalError: true, platform.ExitShutdown: true}
	f.Fuzz(func(t *testing.T, reason uint32, words, code, gates []byte) {
		at := func(i int) uint64 {
			if len(words) < 8*(i+1) {
				return 0
			}
			return binary.LittleEndian.Uint64(words[8*i:])
		}
		a := v.vm.proc.area
		a.Reason, a.Signal, a.Trap, a.Error, a.Address = reason, uint32(at(0)), at(1), at(2), at(3)
		a.RIP, a.RSP, a.DeviceOffset, a.DeviceValue = at(4), at(5), at(6), at(7)
		v.put(t, codeAt, code[:min(len(code), 64)])
		v.put(t, guest.IDTGPA, gates[:min(len(gates), vectors*gateBytes)])
		v.put(t, guest.TSSGPA+tssIST1, binary.LittleEndian.AppendUint64(nil, at(8)))
		before := a.RIP
		e, again := v.exit()
		switch {
		case again:
			if gate, ok := v.words(guest.IDTGPA+at(1)*gateBytes, 1); !ok || at(1) >= vectors || gate[0]&gatePresent == 0 {
				t.Errorf("exception %d delivered without a gate", at(1))
			}
		case !known[e.Kind]:
			t.Errorf("exit of kind %v", e.Kind)
		case e.Kind == platform.ExitMMIORead || e.Kind == platform.ExitMMIOWrite:
			if e.Size == 0 || e.Size > 8 || e.Size < 8 && e.Value>>(8*e.Size) != 0 {
				t.Errorf("access of %d bytes with value %#x", e.Size, e.Value)
			}
			if reason == stub.ReasonSignal && v.state.Regs.RIP-before-1 >= 15 {
				t.Errorf("an instruction of %d bytes", v.state.Regs.RIP-before)
			}
		}
		v.CompleteRead(^uint64(0))
	})
}
