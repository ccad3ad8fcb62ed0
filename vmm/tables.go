package vmm

import (
	"encoding/binary"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"seuss/guest"
	"seuss/vmm/internal/x86"
)

// tableLayout is what the tables of the lowest level depend on at a cold boot.
type tableLayout struct {
	ram, end, data uint64
}

// pages returns the entries of RAM and image: see pageTables.write.
func (l tableLayout) pages() []byte {
	tables := (l.end + largePage - 1) / largePage
	out := make([]byte, tables*pageSize)
	for at := uint64(guest.LowGPA); at < l.end; at += pageSize {
		bits := uint64(x86.PageEntry)
		if at >= guest.KernelGPA && at < l.data || at >= l.ram {
			bits &^= x86.EntryWritable
		}
		binary.LittleEndian.PutUint64(out[at/pageSize*8:], at|bits)
	}
	return out
}

// tableFiles keeps the tables of the layouts that were booted last as files in
// memory, which nobody can write to: 1/512 of a guest's size each. A guest of 2 GiB
// has 4 MiB of them and touches little, so to map them takes a tenth of the time
// that writing them does.
var tableFiles struct {
	mu     sync.Mutex
	latest []tableFile // the latest first
}

type tableFile struct {
	layout tableLayout
	file   *os.File
}

const tableFilesKept = 4

// mapTables puts the tables at the page first by mapping them.
func (l tableLayout) mapTables(m *Memory, first, count uint64) error {
	tableFiles.mu.Lock()
	defer tableFiles.mu.Unlock() // nobody closes the file before it is mapped
	for i, t := range tableFiles.latest {
		if t.layout == l {
			copy(tableFiles.latest[1:], tableFiles.latest[:i])
			tableFiles.latest[0] = t
			return m.MapFile(first, count, t.file, 0)
		}
	}
	f, err := sealedFile("seuss page tables", l.pages())
	if err != nil {
		return err
	}
	if n := len(tableFiles.latest); n == tableFilesKept {
		tableFiles.latest[n-1].file.Close()
		tableFiles.latest = tableFiles.latest[:n-1]
	}
	tableFiles.latest = append([]tableFile{{l, f}}, tableFiles.latest...)
	return m.MapFile(first, count, f, 0)
}

// sealedFile returns a file in memory whose content never changes.
func sealedFile(name string, content []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), name)
	if _, err = f.Write(content); err == nil {
		const seals = unix.F_SEAL_WRITE | unix.F_SEAL_GROW | unix.F_SEAL_SHRINK | unix.F_SEAL_SEAL
		_, err = unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return f, nil
}
