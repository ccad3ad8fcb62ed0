package fake

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"seuss/guest"
	"seuss/vmm/internal/x86"
	"seuss/vmm/platform"
)

// CPU is the guest's side of its machine. Its methods, and those of what it returns,
// are for the guest's goroutine alone. An address outside memory panics: the test's
// guest is wrong.
type CPU struct {
	v     *VCPU
	mem   []byte
	yield func(platform.Exit) bool
	vsock *Vsock
}

// Where a guest keeps things, in its RAM. Machines need at least 16 MiB of it.
const (
	consoleGPA = 0x600000 // ring of guest.ConsoleBytes
	textGPA    = 0x611000 // of a panic
	reportGPA  = 0x612000 // of a fault
	vsockGPA   = 0x620000 // rings and buffers, see vsock.go
	wordsGPA   = 0x800000 // Word
	// FreeGPA is where memory begins that a guest can use as it likes.
	FreeGPA guest.GPA = 0x900000
)

// exit leaves the guest.
func (c *CPU) exit(e platform.Exit) {
	if !c.yield(e) {
		panic(errAbandoned)
	}
}

// Poll is where a guest that computes can be stopped.
func (c *CPU) Poll() {
	for c.v.kicked.Load() {
		c.exit(platform.Exit{Kind: platform.ExitInterrupted})
	}
}

// Spin computes until the guest is kicked, and goes on if it is let.
func (c *CPU) Spin() {
	<-c.v.kick
	c.v.kicked.Store(true)
	c.Poll()
}

// Wait rests at the idle doorbell until there is something to do. It may return
// although there is not.
func (c *CPU) Wait() {
	c.save()
	if c.attention() {
		return
	}
	c.v.state.Regs.RIP = resting
	c.Doorbell(guest.DoorbellIdle, 0)
}

// attention reports, and forgets, that the monitor has delivered something since the
// guest last looked: it must look again before it rests. Nothing may stop the guest
// between this and the doorbell.
func (c *CPU) attention() bool {
	word := c.mem[guest.ControlGPA+guest.ControlAttention:][:4]
	set := binary.LittleEndian.Uint32(word) != 0
	if set {
		clear(word)
	}
	return set
}

// Doorbell stores value to a doorbell, one of package guest's Doorbell constants.
func (c *CPU) Doorbell(offset guest.GPA, value uint32) {
	c.exit(platform.Exit{Kind: platform.ExitDoorbell, GPA: offset, Size: 4, Value: uint64(value)})
	c.Poll()
}

// Load and Store access a device register of 4 bytes.
func (c *CPU) Load(gpa guest.GPA) uint32 {
	c.exit(platform.Exit{Kind: platform.ExitMMIORead, GPA: gpa, Size: 4})
	return uint32(c.v.read)
}

// Store is the other direction.
func (c *CPU) Store(gpa guest.GPA, value uint32) {
	c.exit(platform.Exit{Kind: platform.ExitMMIOWrite, GPA: gpa, Size: 4, Value: uint64(value)})
	c.Poll()
}

// Read returns a copy of n bytes of memory.
func (c *CPU) Read(gpa guest.GPA, n int) []byte {
	return append([]byte(nil), c.mem[gpa:int(gpa)+n]...)
}

// Write stores to memory. It touches no page that holds the same already.
func (c *CPU) Write(gpa guest.GPA, p []byte) {
	c.Poll()
	for len(p) > 0 {
		n := min(len(p), int(pageSize-gpa%pageSize))
		to := c.mem[gpa : int(gpa)+n]
		if string(to) != string(p[:n]) {
			copy(to, p)
			c.v.count++
		}
		gpa, p = gpa+guest.GPA(n), p[n:]
	}
}

// Word returns the i-th of the words that a guest keeps in its memory, 0 at first.
func (c *CPU) Word(i int) uint64 {
	return binary.LittleEndian.Uint64(c.mem[wordsGPA+8*i:])
}

// SetWord changes one.
func (c *CPU) SetWord(i int, v uint64) {
	c.Write(wordsGPA+guest.GPA(8*i), binary.LittleEndian.AppendUint64(nil, v))
}

// Identity returns what makes this instance itself.
func (c *CPU) Identity() (id guest.Identity) {
	c.decode(guest.IdentityGPA, &id)
	return id
}

// Mono is the guest's monotonic time in ns.
func (c *CPU) Mono() uint64 {
	id := c.Identity()
	since := x86.TSC() - id.TSC
	if int64(since) < 0 {
		since = 0
	}
	hi, lo := bits.Mul64(since, id.TSCMult)
	return id.MonoNS + hi<<32 + lo>>32
}

func (c *CPU) decode(gpa guest.GPA, into any) {
	if _, err := binary.Decode(c.mem[gpa:], binary.LittleEndian, into); err != nil {
		panic(fmt.Sprintf("fake guest: read %T: %v", into, err))
	}
}

// control accesses a word of the control page.
func (c *CPU) control(offset int) uint64 {
	return binary.LittleEndian.Uint64(c.mem[guest.ControlGPA+offset:])
}

func (c *CPU) setControl(offset int, v uint64) {
	c.Write(guest.ControlGPA+guest.GPA(offset), binary.LittleEndian.AppendUint64(nil, v))
}

// SetTimer has the guest woken at a point of its monotonic time in ns, 0: never.
func (c *CPU) SetTimer(monoNS uint64) { c.setControl(guest.ControlDeadlineNS, monoNS) }

// Print writes to the console: fd 1 or 2, 0 is the kernel library's own.
func (c *CPU) Print(fd uint16, text string) {
	c.setControl(guest.ControlConsoleGPA, consoleGPA)
	for len(text) > 0 {
		n := min(len(text), guest.ConsoleBytes/2)
		head := c.control(guest.ControlConsoleHead)
		record := binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(nil, fd), uint16(n))
		record = append(record, text[:n]...)
		if head+uint64(len(record))-c.control(guest.ControlConsoleTail) > guest.ConsoleBytes {
			c.Doorbell(guest.DoorbellConsole, 1)
			continue
		}
		for i, b := range record {
			c.Write(consoleGPA+guest.GPA((head+uint64(i))%guest.ConsoleBytes), []byte{b})
		}
		c.setControl(guest.ControlConsoleHead, head+uint64(len(record)))
		text = text[n:]
	}
}

// Exit ends the program as exit_group does.
func (c *CPU) Exit(status uint32) { c.end(guest.DoorbellExit, status) }

// Fault reports that a signal killed the program.
func (c *CPU) Fault(signal uint32) {
	c.setControl(guest.ControlFaultGPA, reportGPA)
	c.Write(reportGPA, binary.LittleEndian.AppendUint32(nil, signal))
	c.end(guest.DoorbellFault, signal)
}

// Panic reports that the kernel library gave up.
func (c *CPU) Panic(text string) {
	c.setControl(guest.ControlPanicGPA, textGPA)
	c.Write(textGPA, append([]byte(text), 0))
	c.end(guest.DoorbellPanic, 1)
}

// end rings what nothing follows.
func (c *CPU) end(doorbell guest.GPA, value uint32) {
	c.save()
	for {
		c.Doorbell(doorbell, value)
	}
}

// Crash is what no guest survives: a triple fault.
func (c *CPU) Crash() {
	for {
		c.exit(platform.Exit{Kind: platform.ExitShutdown})
	}
}

// Die ends the machine as if its process had been killed.
func (c *CPU) Die() {
	c.v.vm.dead.Store(true)
	c.exit(platform.Exit{Kind: platform.ExitShutdown})
	panic(errAbandoned)
}

// save puts into memory what the guest has to know after a restore.
func (c *CPU) save() {
	if c.vsock != nil {
		c.vsock.save()
	}
}
