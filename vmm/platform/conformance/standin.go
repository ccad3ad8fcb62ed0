package conformance

import (
	"encoding/binary"

	"seuss/guest"
	"seuss/vmm/platform/fake"
	"seuss/vmm/vmmtest/testguest"
)

// StandIn is package testguest as a Go function, as far as such a one can be: it has no
// instructions, exceptions or system calls. A program of it computes for ever.
func StandIn(c *fake.CPU) {
	u64 := func(gpa guest.GPA) uint64 { return binary.LittleEndian.Uint64(c.Read(gpa, 8)) }
	set := func(gpa guest.GPA, v uint64) { c.Write(gpa, binary.LittleEndian.AppendUint64(nil, v)) }
	command := testguest.Command(uint32(u64(testguest.Mailbox)))
	c.Write(testguest.Mailbox, make([]byte, 4))
	switch command {
	case testguest.RunProgram:
		for {
			c.Spin()
		}
	case testguest.TripleFault:
		c.Crash()
	case testguest.Exit:
		c.Exit(42)
	case testguest.Console:
		c.Print(1, "hello")
		c.Print(2, "!!!")
	case testguest.Stores:
		for i := range u64(testguest.Count) {
			at := guest.GPA(u64(testguest.List + guest.GPA(8*i)))
			set(at, u64(at)+1)
		}
	case testguest.MMIORead:
		set(testguest.Result, uint64(c.Load(guest.VsockMMIOGPA))|uint64(c.Load(guest.VsockMMIOGPA+8))<<32)
		set(testguest.Result+8, uint64(c.Load(guest.VsockMMIOGPA+0x100))|uint64(c.Load(guest.VsockMMIOGPA+0x104))<<32)
	case testguest.Outside:
		c.Store(guest.GPA(u64(testguest.Result)), 1)
	case testguest.BadDoorbell:
		c.Doorbell(0x7f8, 1)
	}
}
