//go:build linux && amd64

// Guestexit ends the nested test guest with an exit code: it waits until the
// serial port has sent everything, then writes its argument to QEMU's
// isa-debug-exit device, on which QEMU exits with twice the value plus one.
// It must be static and run as root; it returns only on an error.
//
// It uses package syscall, not x/sys, so that the machinery under the tests
// builds from the standard library alone.
package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"
)

const (
	debugExitPort = 0xf4   // iobase of isa-debug-exit in run.sh
	tcsbrk        = 0x5409 // TCSBRK, asm-generic/ioctls.h; argument 1 is tcdrain(3)
	console       = "/dev/ttyS0"
)

// outb writes one byte to an I/O port. The thread needs I/O privilege level 3.
func outb(port uint16, value uint8)

func main() {
	fmt.Fprintln(os.Stderr, "guestexit:", run(os.Args[1:]))
	os.Exit(1)
}

// run ends the machine. It returns only if it cannot, and says why.
func run(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("want one argument, the value for the port, got %d", len(args))
	}
	value, err := strconv.ParseUint(args[0], 10, 7)
	if err != nil {
		return fmt.Errorf("value for the port: %w", err)
	}
	if err := drain(console); err != nil {
		return err
	}
	runtime.LockOSThread() // iopl is a property of the thread
	if err := syscall.Iopl(3); err != nil {
		return fmt.Errorf("iopl 3: %w", err)
	}
	outb(debugExitPort, uint8(value))
	return fmt.Errorf("the machine still runs after writing %d to port %#x: it has no isa-debug-exit device", value, debugExitPort)
}

// drain waits until the terminal has sent its output, which would otherwise be
// lost together with the machine.
func drain(path string) error {
	tty, err := os.OpenFile(path, os.O_WRONLY|syscall.O_NOCTTY, 0)
	if err != nil {
		return fmt.Errorf("drain console: %w", err)
	}
	defer tty.Close()
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, tty.Fd(), tcsbrk, 1); errno != 0 {
		return fmt.Errorf("drain console %s: TCSBRK: %w", path, errno)
	}
	return nil
}
