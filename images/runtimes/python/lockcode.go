package python

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"io"
	"strings"

	"golang.org/x/arch/x86/x86asm"
)

// CPython reads the clock before it acquires any lock, for a deadline that it
// rarely needs, and keeps no trace of the time. The guest's purity certificate
// leaves such reads out (ABI_SO_DRIVER in guest/abi/driver.h): they are told by the
// address to which clock_gettime returns, where the next call is one of
// lockCalls. Lock acquisition is inlined all over the interpreter, so there are
// several.
var lockCalls = map[string]bool{"sem_trywait": true, "sem_clockwait": true, "sem_timedwait": true, "sem_wait": true}

const (
	clockCall = "clock_gettime"
	// lockInstructions is how many instructions behind clock_gettime the lock's
	// call may come: its arguments are put into place, a flag is looked at.
	lockInstructions = 40
	// maxLockSites bounds what is handed to the guest (ABI_LOCK_SITES).
	maxLockSites = 32
)

// maxText bounds the code that is looked through.
const maxText = 64 << 20

// lockCodeEnv tells the driver the return addresses in an interpreter, in hex. It is empty
// for one whose addresses are not known before it is loaded.
func lockCodeEnv(exe io.ReaderAt) ([]string, error) {
	f, err := elf.NewFile(exe)
	if err != nil {
		return nil, fmt.Errorf("read the interpreter: %w", err)
	}
	text := f.Section(".text")
	if f.Type != elf.ET_EXEC || text == nil || text.Size > maxText {
		return nil, nil
	}
	plt, err := pltTargets(f)
	if err != nil {
		return nil, fmt.Errorf("read the interpreter: %w", err)
	}
	code, err := text.Data()
	if err != nil {
		return nil, fmt.Errorf("read the interpreter: .text: %w", err)
	}
	var sites []string
	for at := 0; at+5 <= len(code) && len(sites) < maxLockSites; at++ {
		if callTo(code, at, text.Addr, plt) != clockCall {
			continue
		}
		if lockCalls[nextCall(code, at+5, text.Addr, plt)] {
			sites = append(sites, fmt.Sprintf("%x", text.Addr+uint64(at)+5))
		}
	}
	if len(sites) == 0 {
		return nil, nil
	}
	return []string{"SEUSS_LOCK_CODE=" + strings.Join(sites, ",")}, nil
}

// nextCall follows the code from at, along jumps that are always taken, to the
// next call, and returns the imported function that it goes to. It is "" if
// that is another function, or none comes soon.
func nextCall(code []byte, at int, base uint64, plt map[uint64]string) string {
	for range lockInstructions {
		if at < 0 || at >= len(code) {
			return ""
		}
		inst, err := x86asm.Decode(code[at:], 64)
		if err != nil {
			return ""
		}
		switch inst.Op {
		case x86asm.CALL:
			return callTo(code, at, base, plt)
		case x86asm.RET, x86asm.UD2:
			return ""
		case x86asm.JMP:
			rel, ok := inst.Args[0].(x86asm.Rel)
			if !ok {
				return ""
			}
			at += int(rel)
		}
		at += inst.Len
	}
	return ""
}

// callTo returns the imported function that a `call rel32` at code[at] goes to,
// "" if there is none.
func callTo(code []byte, at int, base uint64, plt map[uint64]string) string {
	if code[at] != 0xe8 {
		return ""
	}
	rel := int32(binary.LittleEndian.Uint32(code[at+1:]))
	return plt[base+uint64(at)+5+uint64(int64(rel))]
}

// pltTargets maps the addresses of procedure linkage table entries to the
// symbols that they jump to. An entry is recognised by its `jmp *slot(%rip)`.
func pltTargets(f *elf.File) (map[uint64]string, error) {
	symbols, err := f.DynamicSymbols()
	if err != nil {
		return nil, nil // a static program has no table
	}
	slots := map[uint64]string{}
	for _, name := range []string{".rela.plt", ".rela.dyn"} {
		s := f.Section(name)
		if s == nil {
			continue
		}
		b, err := s.Data()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		for ; len(b) >= 24; b = b[24:] {
			if n := binary.LittleEndian.Uint64(b[8:]) >> 32; n > 0 && n <= uint64(len(symbols)) {
				slots[binary.LittleEndian.Uint64(b)] = symbols[n-1].Name
			}
		}
	}
	targets := map[uint64]string{}
	for _, name := range []string{".plt", ".plt.sec", ".plt.got"} {
		s := f.Section(name)
		if s == nil {
			continue
		}
		b, err := s.Data()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		for at := 0; at+16 <= len(b); at += 16 {
			jump := bytes.Index(b[at:at+12], []byte{0xff, 0x25})
			if jump < 0 || at+jump+6 > len(b) {
				continue
			}
			rel := int32(binary.LittleEndian.Uint32(b[at+jump+2:]))
			slot := s.Addr + uint64(at+jump) + 6 + uint64(int64(rel))
			if symbol := slots[slot]; symbol != "" {
				targets[s.Addr+uint64(at)] = symbol
			}
		}
	}
	return targets, nil
}
