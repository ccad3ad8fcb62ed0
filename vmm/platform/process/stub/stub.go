// Package stub is the small program in which the process platform runs a
// guest: its sources, the committed ELF file, and the Go mirror of stub.h.
//
// The mirror holds constants and types only; nothing here is owned or locked.
// All sizes are bytes, all addresses those of the stub process.
package stub

import (
	"bytes"
	"debug/elf"
	_ "embed"
	"fmt"
)

//go:generate go run ../../../../guest/internal/abigen -header stub.h -output stub_gen.go -package stub
//go:generate sh src/build.sh ../stub.elf

// ELF is the stub's program file. It is rebuilt reproducibly by go generate.
//
//go:embed stub.elf
var ELF []byte

// Entries are the addresses in the stub that the monitor has to know.
type Entries struct {
	Parked      uint64 // behind the instruction in which a stub parks
	DeviceStore uint64 // what a guest calls in place of a store to the device window
	SetBase     uint64 // what it calls in place of wrfsbase and wrgsbase
	Syscall     uint64 // handler of SIGSYS
	Signal      uint64 // handler of the other signals
	SigReturn   uint64 // where handlers return to
}

// FindEntries reads the entries from the ELF file's symbols.
func FindEntries() (Entries, error) {
	var e Entries
	f, err := elf.NewFile(bytes.NewReader(ELF))
	if err != nil {
		return e, fmt.Errorf("stub: %w", err)
	}
	symbols, err := f.Symbols()
	if err != nil {
		return e, fmt.Errorf("stub: symbols: %w", err)
	}
	at := map[string]uint64{}
	for _, s := range symbols {
		at[s.Name] = s.Value
	}
	for name, to := range map[string]*uint64{
		"stub_parked": &e.Parked, "stub_device_store": &e.DeviceStore, "stub_set_base": &e.SetBase, "stub_syscall": &e.Syscall,
		"stub_signal": &e.Signal, "stub_sigreturn": &e.SigReturn,
	} {
		if *to = at[name]; *to < Text || *to >= Text+TextSize {
			return e, fmt.Errorf("stub: symbol %s at %#x: outside the stub", name, *to)
		}
	}
	return e, nil
}
