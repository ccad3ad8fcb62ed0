package direct

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/arch/x86/x86asm"

	"seuss/guest"
	"seuss/images/internal/elftest"
)

const (
	libcPath   = "/lib/x86_64-linux-gnu/libc.so.6"
	loaderPath = "/lib64/ld-linux-x86-64.so.2"
)

// checkDirect applies a plan to a copy of a layout and verifies, with nothing
// but the bytes, that the result does what the original does: every trampoline
// executes the moved instructions, loads the return address and enters the
// kernel library, and nothing changed but the jumps to the trampolines.
func checkDirect(t testing.TB, original []byte, p *Plan) []byte {
	t.Helper()
	mem, err := p.Apply(slices.Clone(original))
	if err != nil {
		t.Fatal(err)
	}
	if uint64(len(mem)) != uint64(len(original))+p.Bytes || p.Bytes%guest.PageSize != 0 {
		t.Fatalf("%d bytes of layout and %d of trampolines make %d", len(original), p.Bytes, len(mem))
	}
	restored := slices.Clone(mem[:len(original)])
	var behind uint64
	for _, c := range p.calls {
		if c.start < behind {
			t.Fatalf("call at %#x overlaps the one before", c.start)
		}
		behind = c.end
		copy(restored[c.start:c.start+patchBytes], original[c.start:])
		if !bytes.Equal(mem[c.end-2:c.end], syscallBytes) {
			t.Fatalf("call at %#x: no syscall instruction at its end", c.start)
		}
		if err := sameCode(original, mem, &c); err != nil {
			t.Fatalf("call at %#x: % x: %v", c.start, c.code, err)
		}
	}
	if !bytes.Equal(restored, original) {
		t.Fatal("bytes outside the calls changed")
	}
	return mem
}

// sameCode compares the trampoline of a call with the original instructions.
func sameCode(original, mem []byte, c *call) error {
	jump, err := x86asm.Decode(mem[c.start:], 64)
	if err != nil || jump.Op != x86asm.JMP || jump.Len != patchBytes {
		return fmt.Errorf("starts with %v, want a jump: %v", jump, err)
	}
	at := c.start + patchBytes + uint64(int64(jump.Args[0].(x86asm.Rel)))
	if at < uint64(len(original)) || at%trampolineAlign != 0 {
		return fmt.Errorf("jumps to %#x, inside the layout of %#x bytes", at, len(original))
	}
	step := func(code []byte, at *uint64) (x86asm.Inst, string, error) {
		in, err := x86asm.Decode(code[*at:], 64)
		*at += uint64(in.Len)
		return in, absolute(in, *at), err
	}
	for from := c.start; from < c.end-2; {
		_, want, err := step(original, &from)
		if err != nil {
			return err
		}
		if _, got, err := step(mem, &at); err != nil || got != want {
			return fmt.Errorf("trampoline has %q, want %q: %v", got, want, err)
		}
	}
	for _, want := range []string{ // x86asm calls r11d R11L
		fmt.Sprintf("LEA RCX [%#x]", c.end), "MOV R11L 0x2", fmt.Sprintf("JMP [%#x]", guest.KernelGPA+guest.EntriesSyscall),
	} {
		if _, got, err := step(mem, &at); err != nil || got != want {
			return fmt.Errorf("trampoline has %q, want %q: %v", got, want, err)
		}
	}
	return nil
}

// absolute returns an instruction as text in which relative operands show
// where they lead. next is the address behind the instruction.
func absolute(in x86asm.Inst, next uint64) string {
	parts := []string{in.Op.String()}
	for _, a := range in.Args {
		switch a := a.(type) {
		case nil:
		case x86asm.Rel:
			parts = append(parts, fmt.Sprintf("%#x", next+uint64(int64(a))))
		case x86asm.Mem:
			switch {
			case a.Base == x86asm.RIP:
				parts = append(parts, fmt.Sprintf("[%#x]", next+uint64(int64(int32(a.Disp)))))
			case a.Base == 0 && a.Index == 0 && a.Segment == 0:
				parts = append(parts, fmt.Sprintf("[%#x]", a.Disp))
			default:
				parts = append(parts, a.String())
			}
		default:
			parts = append(parts, a.String())
		}
	}
	return strings.Join(parts, " ")
}

// planOf plans the direct calls of an ELF and returns its layout.
func planOf(t testing.TB, image []byte) ([]byte, Plan) {
	t.Helper()
	l := layoutOf(t, image)
	p, err := New(bytes.NewReader(image), l)
	if err != nil {
		t.Fatal(err)
	}
	return l.Mem, p
}

// layoutOf maps the whole file pages of each segment, as Linux does.
func layoutOf(t testing.TB, image []byte) (l Layout) {
	t.Helper()
	f, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		t.Fatal(err)
	}
	var segs []*elf.Prog
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD && p.Memsz > 0 {
			segs = append(segs, p)
			l.Segments = append(l.Segments, Segment{p.Vaddr, p.Vaddr + p.Filesz, p.Flags})
		}
	}
	last := segs[len(segs)-1]
	l.First = pageFloor(segs[0].Vaddr)
	l.Mem = make([]byte, pageCeil(last.Vaddr+last.Memsz)-l.First)
	for _, p := range segs {
		pages := l.Mem[pageFloor(p.Vaddr)-l.First : pageCeil(p.Vaddr+p.Filesz)-l.First]
		clear(pages)
		copy(pages, image[min(pageFloor(p.Off), uint64(len(image))):])
		if p.Memsz > p.Filesz {
			clear(l.Mem[p.Vaddr+p.Filesz-l.First : pageCeil(p.Vaddr+p.Memsz)-l.First])
		}
	}
	return l
}

// code puts pieces of machine code together.
func code(parts ...any) []byte {
	var out []byte
	for _, p := range parts {
		switch p := p.(type) {
		case int:
			out = append(out, byte(p))
		case string: // hexadecimal, spaces allowed
			var b []byte
			if _, err := fmt.Sscanf(strings.ReplaceAll(p, " ", ""), "%x", &b); err != nil {
				panic(err)
			}
			out = append(out, b...)
		}
	}
	return out
}

func TestDirectCallSites(t *testing.T) {
	const (
		mov     = "b8 27 00 00 00" // mov $39,%eax
		syscall = "0f 05"
		ret     = "c3"
	)
	for _, c := range []struct {
		name        string
		code        []byte
		start, want int // place of the jump, or -1; calls that stay
	}{
		{"constant number", code("90", mov, syscall, ret), 1, 0},
		{"no call", code("90", mov, ret), -1, 0},
		{"bytes of a call in a constant", code("bb 00 0f 05 00", ret), -1, 0},
		{"branch to the start", code(mov, syscall, "eb f7"), 0, 0},
		{"branch to the syscall", code(mov, syscall, "eb fc"), 0, 0},
		{"branch to the last changed byte", code(mov, syscall, "eb fb"), -1, 1},
		{"short branch into the changed bytes", code(mov, syscall, "eb fa"), -1, 1},
		{"conditional branch into the changed bytes", code("74 01", mov, syscall, ret), -1, 1},
		{"loop into the changed bytes", code("e2 03", mov, syscall, ret), -1, 1},
		{"long branch into the changed bytes", code(mov, syscall, "0f 84 f6 ff ff ff", ret), -1, 1},
		{"call into the changed bytes", code(mov, syscall, "e8 f6 ff ff ff", ret), -1, 1},
		{"address of the changed bytes", code(mov, syscall, "48 8d 05 f5 ff ff ff", ret), -1, 1},
		{"long branch hidden in a constant", code(mov, syscall, ret, "48 b8 00 e9 f3 ff ff ff 00 00", ret), -1, 1},
		{"damaged code behind", code(mov, syscall, ret, "06"), -1, 1},
		{"signal return", code("48 c7 c0 0f 00 00 00", syscall), -1, 1},
		{"nothing before", code("31 c0", syscall, ret), -1, 1},
		{"too little before", code("89 d0 31 c0", syscall, ret), -1, 1},
		{"read of the C library", code("80 3d f3 0f 00 00 00 74 04 31 c0", syscall, ret), 0, 0},
		{"branch behind the changed bytes", code("80 3d f3 0f 00 00 00 74 04 31 c0", syscall, "eb fa"), 0, 0},
		{"near branch moved", code("b8 01 00 00 00 0f 84 00 01 00 00", syscall, ret), 5, 0},
		{"futex", code("b8 ca 00 00 00 40 80 f6 80", syscall, ret), 0, 0},
		{"short instructions", code("48 89 f2 48 89 fe 31 c0", syscall, ret), 3, 0},
		{"branch behind the first short instructions", code("48 89 f2 48 89 fe 31 c0", syscall, "eb fa"), 0, 0},
		{"branch between short instructions", code("89 d0 89 fe 31 c0", syscall, "eb fa"), -1, 1},
		{"indirect jump and short instructions", code("48 89 f2 48 89 fe 31 c0", syscall, "ff e1"), -1, 1},
		{"indirect jump and a long instruction", code(mov, syscall, "ff e1"), 0, 0},
		{"call between", code("e8 00 00 00 00 31 c0", syscall, ret), -1, 1},
		{"no-operation before", code("0f 1f 44 00 00 89 d0", syscall, ret), -1, 1},
		{"number from memory", code("48 8b 3d f9 0f 00 00 8b 00", syscall, ret), 0, 0},
		{"vector code nearby", code("c5 f8 77 62 f1 fe 48 6f 06 f3 0f 1e fa", mov, syscall, ret), 13, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			body := append(slices.Clone(c.code), bytes.Repeat([]byte{0x90}, 400)...)
			mem, p := planOf(t, elftest.Make(elf.ET_DYN, 0, elftest.Segment{Vaddr: 0x1000, Off: 0x1000, Data: body, Memsz: 0x3000, Flags: elf.PF_R | elf.PF_X}))
			checkDirect(t, mem, &p)
			start := -1
			if len(p.calls) > 0 {
				start = int(p.calls[0].start)
			}
			if start != c.start || p.Left != c.want {
				t.Errorf("jump at %d and %d calls left, want %d and %d", start, p.Left, c.start, c.want)
			}
		})
	}
}

// TestDirectCallFunctions has a damaged function between two good ones, known
// from .eh_frame_hdr: only what lies near the damage stays as it is.
func TestDirectCallFunctions(t *testing.T) {
	call := code("b8 27 00 00 00 0f 05 c3")
	text := bytes.Repeat([]byte{0x90}, 0xc00)
	copy(text, call)
	copy(text[0x300:], call) // near the damage
	text[0x340] = 0x06
	copy(text[0x800:], call)
	hdr := []byte{1, ehPCRelInt32, ehUint32, ehDataRelInt32}
	for _, v := range []int32{0, 4, -0x2000, -0x2000 + 0x240, -0x2000 + 0x330, -0x2000 + 0x700} {
		hdr = binary.LittleEndian.AppendUint32(hdr, uint32(v))
		if v != 0 && v != 4 {
			hdr = binary.LittleEndian.AppendUint32(hdr, 0)
		}
	}
	image := func(hdrType elf.ProgType, flags elf.ProgFlag) []byte {
		return elftest.Make(elf.ET_DYN, 0,
			elftest.Segment{Vaddr: 0x1000, Off: 0x1000, Data: text, Flags: flags},
			elftest.Segment{Vaddr: 0x3000, Off: 0x3000, Data: hdr, Flags: elf.PF_R},
			elftest.Segment{Type: hdrType, Vaddr: 0x3000, Off: 0x3000, Data: hdr, Flags: elf.PF_R})
	}
	rx := elf.PF_R | elf.PF_X
	mem, p := planOf(t, image(elf.PT_GNU_EH_FRAME, rx))
	checkDirect(t, mem, &p)
	if len(p.calls) != 2 || p.calls[0].start != 0 || p.calls[1].start != 0x800 || p.Left != 1 {
		t.Errorf("%d calls, %d left: %+v", len(p.calls), p.Left, p.calls)
	}
	if _, p := planOf(t, image(elf.PT_NOTE, rx)); len(p.calls) != 0 {
		t.Errorf("without known functions: %d calls in damaged code", len(p.calls))
	}
	if _, p := planOf(t, image(elf.PT_GNU_EH_FRAME, rx|elf.PF_W)); len(p.calls)+p.Left != 0 {
		t.Errorf("%d calls, %d left in writable code", len(p.calls), p.Left)
	}
	if _, p := planOf(t, image(elf.PT_GNU_EH_FRAME, elf.PF_R)); len(p.calls)+p.Left != 0 {
		t.Errorf("%d calls, %d left in data", len(p.calls), p.Left)
	}
}

func TestEHFrameStartsRefuses(t *testing.T) {
	good := append([]byte{1, ehPCRelInt32, ehUint32, ehDataRelInt32, 0, 0, 0, 0, 1, 0, 0, 0}, make([]byte, 8)...)
	if got := ehFrameStarts(good, 0, 0x5000); !slices.Equal(got, []uint64{0x5000}) {
		t.Errorf("starts %#x", got)
	}
	many := slices.Clone(good)
	copy(many[8:], []byte{0xff, 0xff, 0xff, 0xff})
	for name, c := range map[string]struct {
		mem []byte
		at  uint64
	}{
		"cut": {good[:19], 0}, "head cut": {good[:11], 0}, "outside": {good, 1 << 63}, "behind": {good, 20},
		"version": {append([]byte{2}, good[1:]...), 0}, "encoding": {append([]byte{1, 0xff}, good[2:]...), 0}, "count": {many, 0},
	} {
		if got := ehFrameStarts(c.mem, c.at, 0); got != nil {
			t.Errorf("%s: starts %#x, want none", name, got)
		}
	}
}

// TestTextRelocations: code that relocation writes to is left alone.
func TestTextRelocations(t *testing.T) {
	for name, c := range map[string]struct {
		tag  elf.DynTag
		val  uint64
		want int
	}{
		"none": {elf.DT_FLAGS, uint64(elf.DF_BIND_NOW), 1}, "flag": {elf.DT_FLAGS, uint64(elf.DF_TEXTREL), 0}, "tag": {elf.DT_TEXTREL, 0, 0},
	} {
		dyn, err := binary.Append(nil, binary.LittleEndian, []elf.Dyn64{{Tag: int64(elf.DT_SONAME), Val: 1}, {Tag: int64(c.tag), Val: c.val}, {}})
		if err != nil {
			t.Fatal(err)
		}
		_, p := planOf(t, elftest.Make(elf.ET_DYN, 0,
			elftest.Segment{Off: 0x1000, Data: code("b8 27 00 00 00 0f 05 c3"), Flags: elf.PF_R | elf.PF_X},
			elftest.Segment{Type: elf.PT_DYNAMIC, Vaddr: 0x3000, Off: 0x2000, Data: dyn, Flags: elf.PF_R}))
		if len(p.calls) != c.want {
			t.Errorf("%s: %d calls, want %d", name, len(p.calls), c.want)
		}
	}
}

// TestVectorLen holds encodings as binutils writes them.
func TestVectorLen(t *testing.T) {
	for _, hex := range []string{
		"c5 f8 77", "c5 fc 77", // vzeroupper, vzeroall
		"c5 f9 6f c1", "c5 f9 6f 04 24", "c5 f9 6f 44 24 10", "c5 f9 6f 84 24 00 01 00 00", "c5 f9 6f 05 00 00 00 00", // vmovdqa
		"c5 f9 70 c1 1b", "c5 f9 73 d8 04", "c5 fb c2 c1 01", // vpshufd, vpsrldq, vcmpsd
		"c4 e3 f9 6b c9 20", "c4 e2 7d 59 05 00 00 00 00", "c4 e3 7d 39 c1 01", // vfmaddsd, vpbroadcastq, vextracti128
		"c4 e2 f9 6f 04 cd 00 00 00 00",             // index without base
		"62 f1 fe 48 6f 06", "62 f1 fe 48 6f 46 01", // vmovdqu64
		"62 f3 75 48 3f c2 00", "62 f2 7d 48 7a c0", // vpcmpb, vpbroadcastb
		"64 c5 f9 6f 00",
	} {
		b := code(hex)
		if n, ok := vectorLen(append(b, 0x90)); !ok || n != len(b) {
			t.Errorf("%s: length %d, %v", hex, n, ok)
		}
		if in, ok := decodeInstr(b[:len(b)-1], 0); ok {
			t.Errorf("%s: a cut instruction decodes as %+v", hex, in)
		}
	}
	if n, ok := vectorLen(code("0f 28 c1")); ok {
		t.Errorf("movaps has a vector length of %d", n)
	}
}

// systemObject returns a host's ELF file, or skips the test.
func systemObject(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Skipf("no %s on this host: %v", path, err)
	}
	return b
}

// TestDirectCallsOfLibc patches the C library and the dynamic loader.
func TestDirectCallsOfLibc(t *testing.T) {
	for path, least := range map[string]int{libcPath: 200, loaderPath: 20} {
		image := systemObject(t, path)
		mem, p := planOf(t, image)
		checkDirect(t, mem, &p)
		if len(p.calls) <= least || p.Left*5 > len(p.calls) {
			t.Errorf("%s: %d calls patched and %d left", path, len(p.calls), p.Left)
		}
		t.Logf("%s: %d calls patched, %d left, %d bytes of trampolines", path, len(p.calls), p.Left, p.Bytes)
		if path == libcPath {
			checkFunctions(t, image, &p, "read", "write", "openat", "pread64", "mmap", "getpid")
		}
	}
}

// checkFunctions requires that a direct call begins in each function.
func checkFunctions(t *testing.T, image []byte, p *Plan, names ...string) {
	t.Helper()
	f, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		t.Fatal(err)
	}
	symbols, err := f.DynamicSymbols()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		i := slices.IndexFunc(symbols, func(s elf.Symbol) bool { return s.Name == name })
		if i < 0 {
			t.Errorf("%s: no such function", name)
			continue
		}
		s := symbols[i] // the C library is linked at 0
		if !slices.ContainsFunc(p.calls, func(c call) bool { return c.start >= s.Value && c.end <= s.Value+s.Size }) {
			t.Errorf("%s at %#x: no direct call", name, s.Value)
		}
	}
}

// TestFarBranchStays: a branch that reaches its target from where it is, but
// not from a trampoline behind the layout, is left where it is; its neighbours
// are not. Found by FuzzDirectCalls.
func TestFarBranchStays(t *testing.T) {
	far := "0f 84 00 00 00 80 0f 05" // je as far back as it goes; syscall
	mem, p := planOf(t, elftest.Make(elf.ET_DYN, 0, elftest.Segment{Off: 0x1000,
		Data: code(far + " c3 b8 27 00 00 00 0f 05 c3"), Flags: elf.PF_R | elf.PF_X}))
	if len(p.calls) != 1 || p.Left != 1 {
		t.Fatalf("%d direct calls, %d left; want 1 and 1", len(p.calls), p.Left)
	}
	checkDirect(t, mem, &p)
}

// TestApplyNoticesChange: a plan is for one layout.
func TestApplyNoticesChange(t *testing.T) {
	mem, p := planOf(t, elftest.Make(elf.ET_DYN, 0, elftest.Segment{Off: 0x1000, Data: code("b8 27 00 00 00 0f 05 c3"), Flags: elf.PF_R | elf.PF_X}))
	mem[1]++
	if _, err := p.Apply(mem); err == nil {
		t.Error("a layout with another system call was patched")
	}
}

// FuzzDirectCalls: whatever the code, what is patched does the same.
func FuzzDirectCalls(f *testing.F) {
	f.Add(code("b8 27 00 00 00 0f 05 c3"), uint16(3))
	f.Add(code("80 3d f3 0f 00 00 00 74 04 31 c0 0f 05 eb fa 06"), uint16(0))
	f.Add(code("c5 f8 77 0f 84 00 00 00 00 48 8b 3d f9 0f 00 00 8b 00 0f 05 ff e1"), uint16(9))
	f.Fuzz(func(t *testing.T, text []byte, cut uint16) {
		if len(text) == 0 || len(text) > 1<<16 {
			return
		}
		hdr := []byte{1, ehPCRelInt32, ehUint32, ehDataRelInt32, 0, 0, 0, 0, 1, 0, 0, 0}
		hdr = binary.LittleEndian.AppendUint64(hdr, uint64(uint32(cut)-0x20000))
		mem, p := planOf(t, elftest.Make(elf.ET_DYN, 0,
			elftest.Segment{Off: 0x1000, Data: text, Flags: elf.PF_R | elf.PF_X},
			elftest.Segment{Type: elf.PT_GNU_EH_FRAME, Vaddr: 0x20000, Off: 0x20000, Data: hdr, Flags: elf.PF_R},
			elftest.Segment{Vaddr: 0x20000, Off: 0x20000, Data: hdr, Flags: elf.PF_R}))
		checkDirect(t, mem, &p)
	})
}
