// Package testguest is a guest for tests of the monitor and its platforms, in place of
// the kernel library: it rests at its idle doorbell, and a test writes a command into
// its mailbox and runs it until it rests again. The commands are described in
// testdata/guest.S.
//
// Addresses are guest-physical. There is no state and no lock.
package testguest

import (
	_ "embed"

	"seuss/guest"
)

// Binary is what lies at guest.KernelGPA.
//
//go:embed testdata/guest.bin
var Binary []byte

// The mailbox and what is in it.
const (
	Mailbox  guest.GPA = 0x400000
	Upcalls            = Mailbox + 0x08 // how many there were
	Vector             = Mailbox + 0x10 // of the last exception
	FaultRIP           = Mailbox + 0x18
	FaultRSP           = Mailbox + 0x20
	Result             = Mailbox + 0x28 // three words
	Syscalls           = Mailbox + 0x40
	Count              = Mailbox + 0x48 // of List
	Saved              = Mailbox + 0x80 // registers that Registers found after its rest
	Program            = Mailbox + 0x1000
	List               = Mailbox + 0x2000 // addresses of words
)

// Command is a command.
type Command uint32

// The commands. A guest that is no machine code (package conformance) knows some.
const (
	RunProgram    Command = iota + 1 // jump to Program
	PageFault                        // load from 0x123456789a
	Undefined                        // ud2
	Registers                        // rest with known registers, then store them to Saved
	TripleFault                      // an exception with no way to deliver it
	Exit                             // status 42
	Console                          // "hello" to 1, "!!!" to 2
	Stores                           // add 1 to each word of List
	MMIORead                         // magic, device id and CID of the vsock device to Result
	Syscall                          // number 1234
	ExtendedState                    // XCR0, size, CS to Result
	Time                             // the time-stamp counter to Result
	KernelSpin                       // compute in the kernel library until asked for attention
	Outside                          // store to the address in Result
	BadDoorbell                      // one that does not exist
	Divide                           // by zero
)

// Spin is a program that computes for ever.
var Spin = []byte{0xeb, 0xfe} // jmp to itself
