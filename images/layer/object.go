package layer

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io"

	"seuss/guest"
	"seuss/images/internal/object"
)

const (
	// memoryObject is the largest object that is taken into memory, to have its system
	// calls made direct. One that is larger, or so when loaded, makes them by the
	// instruction.
	memoryObject = 32 << 20
	// apartBytes is the least text of a library whose data begins a stretch of 2 MiB: then
	// the kernel library can map all of the text by entries of 2 MiB.
	apartBytes = guest.ImageAlign / 2
)

// object stores an ELF file, of which first is read. A shared object, or a
// position-independent program, is stored as loaded, and of the file itself only what
// differs from that.
func (w *writer) object(n *inode, first []byte, r io.Reader) error {
	data := first
	if rest := n.Size - uint64(len(first)); rest > 0 && n.Size <= w.memory {
		data = make([]byte, n.Size)
		copy(data, first)
		if _, err := io.ReadFull(r, data[len(first):]); err != nil {
			return tarError(noEOF(err))
		}
	}
	o, err := object.Read(bytes.NewReader(data), int64(n.Size))
	if err != nil { // damaged, or not for this machine: data like other data
		o = nil
	}
	whole := uint64(len(data)) == n.Size
	loaded := uint64(0)
	if o != nil && o.Type == elf.ET_DYN {
		if loaded, err = o.LoadBytes(); err != nil {
			loaded = 0
		}
	}
	switch {
	case loaded == 0:
		n.Off = w.takeCongruent(o, n.Size)
		return w.copyAt(n.Off, data, n.Size, r)
	case whole && loaded <= 2*w.memory:
		return w.objectInMemory(n, o, data)
	}
	return w.objectInPasses(n, o, loaded, data, r)
}

// takeCongruent sets pages aside for a program. One with fixed addresses lies at the same
// place in its stretches of 2 MiB as in memory: then the host may show it by huge pages.
func (w *writer) takeCongruent(o *object.Object, size uint64) uint64 {
	if o != nil && o.Type == elf.ET_EXEC {
		largest := uint64(guest.ImageAlign - 1)
		place := uint64(0)
		for _, s := range o.Segments {
			if s.Congruent() && s.Filesz > largest && s.Vaddr >= s.Off {
				largest, place = s.Filesz, pageFloor(s.Vaddr-s.Off)
			}
		}
		if place != 0 {
			w.end += (place - w.end) % guest.ImageAlign
		}
	}
	return w.take(size)
}

// takeLayout sets pages aside for a layout.
func (w *writer) takeLayout(o *object.Object, loaded uint64) uint64 {
	if data := o.DataOffset(); data >= apartBytes {
		w.end += -(w.end + data) % guest.ImageAlign
	}
	return w.take(loaded)
}

func (w *writer) objectInMemory(n *inode, o *object.Object, data []byte) error {
	mem, err := o.Load(bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("lay it out: %w", err)
	}
	n.Head = o.Head()
	// What cannot be understood of its code stays as it is.
	if plan, err := o.PlanDirect(bytes.NewReader(data)); err == nil {
		if mem, err = plan.Apply(mem); err != nil {
			return fmt.Errorf("patch its system calls: %w", err)
		}
		n.Head = min(n.Head, pageFloor(plan.First()))
	}
	n.LoadBytes = uint64(len(mem))
	n.LoadOff = w.takeLayout(o, n.LoadBytes)
	if n.Size > n.Head {
		n.Off = w.take(n.Size - n.Head)
		if err := w.write(data[n.Head:], n.Off); err != nil {
			return err
		}
	}
	for at := 0; at < len(mem); at += guest.PageSize { // bss is a hole
		end := at
		for end < len(mem) && [guest.PageSize]byte(mem[end:]) != guest.ZeroPage {
			end += guest.PageSize
		}
		if err := w.write(mem[at:end], n.LoadOff+uint64(at)); err != nil {
			return err
		}
		at = max(at, end)
	}
	return nil
}

// objectInPasses stores an object that is too large for memory: first the file, then what
// its layout has besides.
func (w *writer) objectInPasses(n *inode, o *object.Object, loaded uint64, data []byte, r io.Reader) error {
	n.Head, n.LoadBytes = o.Head(), loaded
	n.LoadOff = w.takeLayout(o, loaded)
	if n.Size > n.Head {
		n.Off = w.take(n.Size - n.Head)
	}
	for done := uint64(0); ; {
		for b := data; len(b) > 0; {
			part, at := b, n.Off+done-n.Head
			if done < n.Head {
				part, at = b[:min(uint64(len(b)), n.Head-done)], n.LoadOff+done
			}
			if err := w.write(part, at); err != nil {
				return err
			}
			done += uint64(len(part))
			b = b[len(part):]
		}
		if done == n.Size {
			break
		}
		data = w.buf[:min(n.Size-done, uint64(len(w.buf)))]
		if _, err := io.ReadFull(r, data); err != nil {
			return tarError(noEOF(err))
		}
	}
	if err := o.LoadTo(w.f, n.LoadOff, n.Head, &File{layer: &Layer{file: w.f}, n: n}); err != nil {
		return fmt.Errorf("lay it out: %w", err)
	}
	return nil
}

func (w *writer) write(b []byte, off uint64) error {
	if n, err := w.f.WriteAt(b, int64(off)); err != nil {
		return fmt.Errorf("write content: wrote %d of %d bytes: %w", n, len(b), err)
	}
	return nil
}

// Layout is where the layer's file has a shared object as loaded.
type Layout struct {
	Off, Bytes uint64 // in whole pages
	Head       uint64 // so much of the content lies at Off too, and only there
}

// Loaded returns the layout of a shared object or a position-independent program.
func (f *File) Loaded() (l Layout, ok bool) {
	return Layout{f.n.LoadOff, f.n.LoadBytes, f.n.Head}, f.n.LoadBytes > 0
}

// Place is where the layer's file has the first byte of a regular file that is not empty,
// and has that of no other file.
func (f *File) Place() uint64 {
	if f.n.Head > 0 {
		return f.n.LoadOff
	}
	return f.n.Off
}

// Off is where the layer's file has the content, from Layout.Head on. It is page aligned
// but for small files.
func (f *File) Off() uint64 { return f.n.Off }
