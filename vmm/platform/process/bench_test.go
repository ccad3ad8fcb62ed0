package process

import (
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
	"time"

	"seuss/guest"
	"seuss/vmm"
	"seuss/vmm/platform/process/stub"
)

// ringing is a guest that does nothing but ring its idle doorbell: by the call
// that the stub offers, or by the store that the call replaces.
func ringing(entries stub.Entries, byCall bool) []byte {
	var a asm
	a.set(rdx, 0).set(rax, 0).set(r11, entries.DeviceStore)
	loop := []byte{0x41, 0xff, 0xd3, 0xeb, 0xfb} // 1: call *%r11; jmp 1b
	if !byCall {
		a.set(rdx, guest.DeviceGPA)
		loop = []byte{0x89, 0x02, 0xeb, 0xfc} // 1: mov %eax, (%rdx); jmp 1b
	}
	a.Write(loop)
	return a.Bytes()
}

// BenchmarkHandOver is one entry of the guest and its way back. spin and sleep
// are two ways to hand over; call and store two ways to stop and save registers.
func BenchmarkHandOver(b *testing.B) {
	for _, way := range []struct {
		name    string
		options Options
	}{{"spin", Options{MonitorSpin: time.Second, StubSpin: time.Second}}, {"sleep", Options{MonitorSpin: -1, StubSpin: -1}}, {"default", Options{}}} {
		for _, byCall := range []bool{true, false} {
			name := way.name + "/store"
			if byCall {
				name = way.name + "/call"
			}
			b.Run(name, func(b *testing.B) {
				v := benchVictim(b, way.options, func(e stub.Entries) []byte { return ringing(e, byCall) })
				for b.Loop() {
					if stop, err := v.Run(vmm.RunOptions{}); err != nil || stop.Kind != vmm.StopIdle {
						b.Fatal(stop, err)
					}
				}
			})
		}
	}
}

// BenchmarkSystemCall is a system call instruction of the guest that the test
// guest's kernel library answers at once, by way of Syscall User Dispatch.
func BenchmarkSystemCall(b *testing.B) {
	const calls = 1000
	v := benchVictim(b, Options{}, func(e stub.Entries) []byte {
		var a asm
		a.set(rbx, mailbox).set(12, calls)
		a.Write([]byte{0x0f, 0x05})             // 1: syscall
		a.Write([]byte{0x49, 0xff, 0xcc})       // dec %r12
		a.Write([]byte{0x75, 0xf9})             // jnz 1b
		a.set(rdx, 0).set(r11, e.DeviceStore)   // ring
		a.Write([]byte{0x41, 0xff, 0xd3, 0xeb}) // call *%r11; jmp to the start
		a.Write([]byte{byte(-(a.Len() + 1))})
		return a.Bytes()
	})
	for b.Loop() {
		if stop, err := v.Run(vmm.RunOptions{}); err != nil || stop.Kind != vmm.StopIdle {
			b.Fatal(stop, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/calls, "ns/syscall")
}

// BenchmarkSettle is an entry, and the kernel's word that the guest has stopped.
func BenchmarkSettle(b *testing.B) {
	v := benchVictim(b, Options{}, func(e stub.Entries) []byte { return ringing(e, true) })
	for b.Loop() {
		if _, err := v.Run(vmm.RunOptions{}); err != nil {
			b.Fatal(err)
		}
		if err := v.Settle(); err != nil {
			b.Fatal(err)
		}
	}
}

func benchVictim(b *testing.B, o Options, code func(stub.Entries) []byte) *vmm.Machine {
	b.Helper()
	p, err := New(o)
	if err != nil {
		b.Skip("skipped where guests cannot run as processes:", err)
	}
	b.Cleanup(func() { p.Close() })
	v := newVictim(b, p)
	if err := v.Memory().Write(program, code(p.entries)); err != nil {
		b.Fatal(err)
	}
	if err := v.Memory().Write(mailbox, binary.LittleEndian.AppendUint32(nil, cmdProgram)); err != nil {
		b.Fatal(err)
	}
	return v.Machine
}

// BenchmarkStart makes a machine without content and ends it: what the process,
// its namespaces and its locks cost.
func BenchmarkStart(b *testing.B) {
	p, err := New(Options{})
	if err != nil {
		b.Skip("skipped where guests cannot run as processes:", err)
	}
	b.Cleanup(func() { p.Close() })
	for _, own := range []bool{false, true} {
		b.Run(fmt.Sprintf("namespaces=%v", own), func(b *testing.B) {
			if own && !p.namespaces {
				b.Skip("this host allows no new namespaces")
			}
			allowed := p.namespaces
			defer func() { p.namespaces = allowed }()
			p.namespaces = own
			for b.Loop() {
				vm, err := p.NewVM()
				if err != nil {
					b.Fatal(err)
				}
				m, err := vm.NewMemory(64<<20, false)
				if err != nil {
					b.Fatal(err)
				}
				if err := errors.Join(vm.Close(), m.Close()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
