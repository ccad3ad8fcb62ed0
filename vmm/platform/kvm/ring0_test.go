package kvm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/bobuhiro11/gokvm/kvm"

	"seuss/guest"
	"seuss/vmm"
	"seuss/vmm/internal/x86"
	"seuss/vmm/platform"
	"seuss/vmm/vmmtest/testguest"
)

// Addresses of testdata/ring0.S and of the test guest that runs it.
const (
	ring0Mailbox = 0x400000
	ring0Code    = 0x401000
	ring0Orders  = 0x410000
	ring0Table   = 0x420000

	orderWay, orderAttack, orderCount, orderTries = 0x00, 0x08, 0x10, 0x18
	orderValues, orderNoXGETBV, orderDone         = 0x20, 0xf0, 0xf8
	orderFound, foundBytes                        = 0x100, 14*8 + 32
)

// ring0Values are what is written to every MSR, in this order: what such a register
// takes at all it takes one of, and keeps the last.
var ring0Values = []uint64{^uint64(0), 0x0606060606060606, 0x7fff12345000, 0xff, 6, 3, 1}

// ring0Ranges are where MSRs are: the architectural ones, Hyper-V's, KVM's and AMD's.
var ring0Ranges = []msrRange{{0, 0x1000}, {0x1200, 0x20}, {0x14c0, 0x20}, {0x1500, 0x20}, {0x1600, 0x20},
	{0x40000000, 0x130}, {x86.MSRKVMFirst, 0x100},
	{x86.MSREFER, 0x280}, {x86.MSRAMDFirst, 0x220}, {x86.MSRAMDFirst + 0x1000, 0x40}}

// attacker is a machine whose guest goes to ring 0.
type attacker struct {
	*vmm.Machine
	t     *testing.T
	p     *Platform
	state *vmm.State
	ram   []byte
	msrs  []uint32
}

func newAttacker(t *testing.T, o Options) *attacker {
	t.Helper()
	p, err := New(o)
	if errors.Is(err, platform.ErrUnavailable) && os.Getenv("CI_KVM") != "1" {
		t.Skip("skipped without KVM:", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	m, err := vmm.NewMachine(p, vmm.Config{RAMBytes: 8 << 20})
	if err != nil {
		t.Fatal(errors.Join(err, p.Close()))
	}
	t.Cleanup(func() {
		if err := errors.Join(m.Close(), p.Close()); err != nil {
			t.Error(err)
		}
	})
	code, err := os.ReadFile("testdata/ring0.bin")
	if err != nil {
		t.Fatal(err)
	}
	a := &attacker{Machine: m, t: t, p: p}
	if err := errors.Join(m.Memory().Write(guest.KernelGPA, testguest.Binary), m.ColdBoot(vmm.BootConfig{Args: []string{"x"}})); err != nil {
		t.Fatal(err)
	}
	a.rest()
	if a.msrs, err = p.listedMSRs(); err != nil {
		t.Fatal(err)
	}
	for _, r := range ring0Ranges {
		for i := range r.count {
			a.msrs = append(a.msrs, r.first+i)
		}
	}
	slices.Sort(a.msrs)
	a.msrs = slices.Compact(a.msrs)
	if err := errors.Join(m.Memory().Write(ring0Code, code), m.Memory().Write(ring0Orders+orderValues, words(ring0Values))); err != nil {
		t.Fatal(err)
	}
	a.order(orderTries, uint64(len(ring0Values)))
	if p.pvm {
		a.order(orderNoXGETBV, 1)
	}
	a.list()
	if a.state, err = m.Capture(); err != nil {
		t.Fatal(err)
	}
	a.ram = bytes.Clone(m.Memory().Bytes())
	return a
}

func words(list []uint64) (out []byte) {
	for _, w := range list {
		out = binary.LittleEndian.AppendUint64(out, w)
	}
	return out
}

func (a *attacker) order(at guest.GPA, value uint64) {
	a.t.Helper()
	if err := a.Memory().WriteU64(ring0Orders+at, value); err != nil {
		a.t.Fatal(err)
	}
}

// list tells the guest which MSRs there are.
func (a *attacker) list() {
	a.t.Helper()
	a.order(orderCount, uint64(len(a.msrs)))
	table := make([]byte, 16*len(a.msrs))
	for i, index := range a.msrs {
		binary.LittleEndian.PutUint32(table[16*i:], index)
	}
	if err := a.Memory().Write(ring0Table, table); err != nil {
		a.t.Fatal(err)
	}
}

// survive leaves out of the list what takes a guest's exceptions from it, so that the next
// refusal ends it, and with it the attack, and returns that: some of kvm_pvm's own do,
// where they are not filtered.
func (a *attacker) survive(way uint64) (deadly []uint32) {
	a.t.Helper()
	for range 16 {
		a.fresh()
		stop, err := a.try(way, true)
		if err != nil || stop.Kind != vmm.StopCrash || stop.Exit.Kind != platform.ExitShutdown {
			break
		}
		i := slices.Index(a.msrs, uint32(a.Registers().RCX)) - 1
		if i < 0 {
			break
		}
		deadly = append(deadly, a.msrs[i])
		a.only(slices.Delete(a.msrs, i, i+1))
	}
	return deadly
}

// only has fresh guests know these MSRs alone.
func (a *attacker) only(msrs []uint32) {
	a.t.Helper()
	a.msrs = msrs
	a.fresh()
	a.list()
	a.ram = bytes.Clone(a.Memory().Bytes())
}

func (a *attacker) rest() {
	a.t.Helper()
	stop, err := a.Run(vmm.RunOptions{Deadline: time.Now().Add(time.Minute)})
	if err != nil || stop.Kind != vmm.StopIdle {
		a.t.Fatalf("stopped with %v at %+v, error %v, %v", stop.Kind, a.Registers(), stop.Err, err)
	}
}

// fresh makes the machine another instance.
func (a *attacker) fresh() {
	a.t.Helper()
	if err := a.Settle(); err != nil {
		a.t.Fatal(err)
	}
	copy(a.Memory().Bytes()[guest.LowGPA:], a.ram[guest.LowGPA:])
	if err := a.Restore(a.state); err != nil {
		a.t.Fatal(err)
	}
	if err := a.WriteIdentity(vmm.Identity{}); err != nil {
		a.t.Fatal(err)
	}
}

// try has the guest go to ring 0 in a way.
func (a *attacker) try(way uint64, attack bool) (vmm.Stop, error) {
	a.t.Helper()
	a.order(orderWay, way)
	if attack {
		a.order(orderAttack, 1)
	}
	if err := a.Memory().WriteU32(ring0Mailbox, 1); err != nil {
		a.t.Fatal(err)
	}
	return a.Run(vmm.RunOptions{Deadline: time.Now().Add(time.Minute)})
}

// closed says that a way leads nowhere: kvm_pvm interprets neither a gate of int nor a
// call gate, in some of its builds, and ends the guest or has it fault instead. Hardware
// has them all.
func (a *attacker) closed(way uint64) bool {
	a.t.Helper()
	if !a.p.pvm || way == 0 {
		return false
	}
	a.fresh()
	if _, err := a.try(way, false); err != nil {
		a.t.Fatal(err)
	}
	done, err := a.Memory().ReadU64(ring0Orders + orderDone)
	if err != nil {
		a.t.Fatal(err)
	}
	return done != 1
}

// ring0 has the guest go to ring 0 in a way, and returns what it found there.
func (a *attacker) ring0(way uint64, attack bool) (found string, msrs map[uint32]string) {
	a.t.Helper()
	if stop, err := a.try(way, attack); err != nil || stop.Kind != vmm.StopIdle {
		a.t.Fatalf("way %d: stopped with %+v at %+v, %v", way, stop, a.Registers(), err)
	}
	if done, err := a.Memory().ReadU64(ring0Orders + orderDone); err != nil || done != 1 {
		a.t.Fatalf("way %d does not lead to ring 0 and back: %d, %v", way, done, err)
	}
	b := make([]byte, foundBytes)
	table := make([]byte, 16*len(a.msrs))
	if err := errors.Join(a.Memory().Read(ring0Orders+orderFound, b), a.Memory().Read(ring0Table, table)); err != nil {
		a.t.Fatal(err)
	}
	// CR3 carries a bit that says nothing (VCPU.flush).
	binary.LittleEndian.PutUint64(b[2*8:], binary.LittleEndian.Uint64(b[2*8:])&^cr3Flush)
	msrs = map[uint32]string{}
	for ; len(table) > 0; table = table[16:] {
		value := fmt.Sprintf("%#x", binary.LittleEndian.Uint64(table[8:]))
		if binary.LittleEndian.Uint32(table[4:]) != 0 {
			value = "refused"
		}
		msrs[binary.LittleEndian.Uint32(table)] = value
	}
	return fmt.Sprintf("%x", b), msrs
}

// host returns the MSRs as the host sees them.
func (a *attacker) host() map[uint32]string {
	a.t.Helper()
	v := a.VM().(*VM).vcpu
	list, err := v.readable(a.msrs)
	if err != nil {
		a.t.Fatal(err)
	}
	out := map[uint32]string{}
	for _, m := range list {
		out[m.Index] = fmt.Sprintf("%#x", m.Value)
	}
	return out
}

// TestNothingOfRing0Stays: a guest that forges its way into ring 0, or is there, writes
// every MSR, debug and control registers and moves its tables. The next instance finds
// nothing of it, at ring 0 or from the host's side.
func TestNothingOfRing0Stays(t *testing.T) {
	for _, level := range []Level{LevelKernel, LevelUser} {
		for name, o := range map[string]Options{"filter": {}, "no filter": {NoMSRFilter: true}} {
			o.Level = level
			t.Run(fmt.Sprintf("level %d, %s", level, name), func(t *testing.T) {
				ways := []uint64{0, 1, 2}
				a := newAttacker(t, o)
				if o.NoMSRFilter && !a.closed(uint64(level)) {
					ways = []uint64{uint64(level)}
				}
				ways = slices.DeleteFunc(ways, a.closed)
				t.Logf("ways that lead to ring 0 here: %d", ways)
				var deadly []uint32
				if a.p.pvm && o.NoMSRFilter {
					deadly = a.survive(ways[0])
				}
				a.leavesNothing(ways...)
				for _, index := range []uint32{x86.MSRTSC, uint32(kvm.MSRTSCADJUST)} {
					if a.p.pvm && o.NoMSRFilter {
						a.leavesOffset(ways[0], index)
					}
				}
				for _, index := range deadly {
					a.only([]uint32{index})
					a.fresh()
					if _, err := a.try(ways[0], true); err != nil {
						t.Fatal(err)
					}
					a.fresh()
					a.ring0(ways[0], false)
					t.Logf("MSR %#x takes a guest's exceptions away, and not the next one's", index)
				}
			})
		}
	}
}

// leavesOffset: what a guest adds to its counter by way of one MSR alone is undone.
func (a *attacker) leavesOffset(way uint64, index uint32) {
	a.t.Helper()
	a.only([]uint32{index})
	a.fresh()
	before := a.offset()
	if _, err := a.try(way, true); err != nil {
		a.t.Fatal(err)
	}
	attacked := a.offset()
	a.fresh()
	if after := a.offset(); after != before {
		a.t.Errorf("MSR %#x: the counter's offset was %#x, %#x after an attack and is %#x for the next instance", index, before, attacked, after)
	}
	a.t.Logf("MSR %#x: the attack moved the counter by %#x", index, attacked-before)
}

// offset is what KVM adds to the host's counter for the guest.
func (a *attacker) offset() uint64 {
	a.t.Helper()
	v, value := a.VM().(*VM).vcpu, new(uint64)
	attr := attrOf(groupTSC, attrOffset, value)
	if _, err := callPtr(v.h, "KVM_GET_DEVICE_ATTR TSC offset", kvmGetDeviceAttr, &attr); err != nil && v.hasOffset {
		a.t.Fatal(err)
	}
	runtime.KeepAlive(value)
	return *value
}

func (a *attacker) leavesNothing(ways ...uint64) {
	t := a.t
	a.fresh()
	before := a.host()
	found, msrs := a.ring0(0, false)
	a.fresh()
	for index, value := range a.host() { // clocks and counters of the host's
		if before[index] != value {
			delete(before, index)
		}
	}
	if again, other := a.ring0(0, false); again != found {
		t.Fatalf("two fresh instances find\n%s\n%s", found, again)
	} else {
		for index, value := range other {
			if msrs[index] != value {
				t.Logf("MSR %#x goes on by itself: %s, %s", index, msrs[index], value)
				delete(msrs, index)
			}
		}
	}
	for _, way := range ways {
		a.fresh()
		a.ring0(way, true)
		attacked := a.host()
		a.fresh()
		for index, value := range a.host() {
			if was, known := before[index]; known && was != value && !elsewhere(index) {
				t.Errorf("way %d: MSR %#x was %s before the attack, %s in it and is %s for the next instance", way, index, was, attacked[index], value)
			}
		}
		changed := 0
		for index, value := range attacked {
			if was, known := before[index]; known && was != value {
				changed++
			}
		}
		after, left := a.ring0(way, false)
		if after != found {
			t.Errorf("way %d: registers at ring 0 before and after an attack\n%s\n%s", way, found, after)
		}
		for index, was := range msrs {
			if left[index] != was {
				t.Errorf("way %d: MSR %#x: %s before, %s after", way, index, was, left[index])
			}
		}
		t.Logf("way %d: of %d MSRs that the guest tried and %d that the host knows the attack changed %d", way, len(a.msrs), len(before), changed)
		if changed == 0 {
			t.Errorf("way %d: the attack changed no MSR, so it shows nothing", way)
		}
	}
	a.fresh()
	a.rest() // no breakpoint, no moved table, no segment is in the way of an ordinary instance
	a.fresh()
	s, err := a.Capture()
	if err != nil {
		t.Fatal(err)
	}
	s.MonoNS = a.state.MonoNS
	s.CPU.XSave, a.state.CPU.XSave = touched(s.CPU.XSave), touched(a.state.CPU.XSave)
	if !s.Equal(a.state) {
		s.CPU.XSave, a.state.CPU.XSave = nil, nil
		t.Errorf("the state after an attack differs:\n%+v\n%+v", s.CPU, a.state.CPU)
	}
}

// touched is an extended state in which SSE counts as used where it holds something: a
// processor may say so of registers that nobody has touched (Intel SDM volume 1, 13.6).
func touched(xsave []byte) []byte {
	const xmm, xmmEnd, header, sse = 160, 416, 512, 1 << 1
	xsave = bytes.Clone(xsave)
	if len(bytes.Trim(xsave[xmm:xmmEnd], "\x00")) == 0 {
		xsave[header] &^= sse
	}
	return xsave
}

// TestRestoreInTheMiddleOfAnAccess: an instance is stopped in a store that KVM has not
// ended, and would go on with when the next one runs.
func TestRestoreInTheMiddleOfAnAccess(t *testing.T) {
	a := newAttacker(t, Options{})
	for name, code := range map[string][]byte{
		"string":    {0x48, 0x8d, 0xba, 0x00, 0x10, 0, 0, 0xb9, 0, 0, 0, 0x10, 0xf3, 0xab},       // lea 0x1000(%rdx), %rdi; mov $1<<28, %ecx; rep stosl
		"two parts": {0x0f, 0x11, 0x82, 0x00, 0x10, 0, 0, 0xeb, 0xfe},                            // movups %xmm0, 0x1000(%rdx); jmp .
		"load":      {0xf3, 0x0f, 0x6f, 0x82, 0x00, 0x10, 0, 0, 0xeb, 0xfe},                      // movdqu 0x1000(%rdx), %xmm0; jmp .
		"doorbell":  {0x48, 0x8d, 0x7a, 0x08, 0xb9, 0, 0, 0, 0x10, 0xfd, 0x31, 0xc0, 0xf3, 0xab}, // the same string, from a doorbell downwards
	} {
		a.fresh()
		if err := errors.Join(a.Memory().Write(ring0Code, code), a.Memory().WriteU32(ring0Mailbox, 1)); err != nil {
			t.Fatal(err)
		}
		stop, err := a.Run(vmm.RunOptions{Deadline: time.Now()})
		if err != nil || stop.Kind != vmm.StopTimeout {
			t.Fatalf("%s: stopped with %v, %v", name, stop, err)
		}
		exits := a.Stats()
		a.fresh()
		a.rest()
		now := a.Stats()
		if now.MMIO != exits.MMIO || now.Doorbells != exits.Doorbells+1 {
			t.Errorf("%s: the next instance made %d accesses and %d doorbells before it rested", name, now.MMIO-exits.MMIO, now.Doorbells-exits.Doorbells)
		}
	}
}

func TestRing0IsCurrent(t *testing.T) {
	for _, tool := range []string{"gcc", "ld"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("needs gcc and ld:", err)
		}
	}
	dir := t.TempDir()
	object, flat := filepath.Join(dir, "ring0.o"), filepath.Join(dir, "ring0.bin")
	for _, args := range [][]string{
		{"gcc", "-c", "-o", object, "testdata/ring0.S"},
		{"ld", "-Ttext=0x401000", "-e", "0x401000", "--oformat", "binary", "-o", flat, object},
	} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	got, err := os.ReadFile(flat)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/ring0.bin")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("testdata/ring0.bin is not what testdata/ring0.S assembles to")
	}
}
