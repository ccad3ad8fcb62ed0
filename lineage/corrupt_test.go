package lineage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"seuss/lineage/sealed"
	"seuss/lineage/sealed/sealedtest"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
)

var bothForms = []Form{FormPages, FormDifferences}

// sealedNode returns a store directory, a node's id and path, and its file, which
// is of the given form.
func sealedNode(t testing.TB, form Form) (dir string, n *Node, path string, file []byte) {
	t.Helper()
	dir = t.TempDir()
	s := openStoreAs(t, dir, Options{Form: form})
	nodes, _ := testTree(t, s)
	n = nodes[3]
	path = s.nodePath(n.ID)
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, n, path, file
}

func resealHeader(b []byte) {
	n := binary.LittleEndian.Uint32(b[28:])
	if n != pagesHeaderBytes && n != differencesHeaderBytes || uint64(n) > uint64(len(b)) {
		return
	}
	clear(b[headerCRCOffset : headerCRCOffset+4])
	binary.LittleEndian.PutUint32(b[headerCRCOffset:], checksum(b[:n]))
}

// Every field of the header, changed alone, gives its own sentinel.
func TestHeaderCorruption(t *testing.T) {
	for _, form := range bothForms {
		t.Run(form.String(), func(t *testing.T) { testHeaderCorruption(t, form) })
	}
}

func testHeaderCorruption(t *testing.T, form Form) {
	_, _, _, file := sealedNode(t, form)
	headerBytes := int(form.headerBytes())
	le := binary.LittleEndian
	add := func(at int, n uint64) func(b []byte) []byte {
		return func(b []byte) []byte { le.PutUint64(b[at:], le.Uint64(b[at:])+n); return b }
	}
	sealed := func(f func(b []byte) []byte) func(b []byte) []byte {
		return func(b []byte) []byte { b = f(b); resealHeader(b); return b }
	}
	cases := map[string]struct {
		change func(b []byte) []byte
		want   error
	}{
		"empty file":       {func(b []byte) []byte { return nil }, ErrMagic},
		"seven bytes":      {func(b []byte) []byte { return b[:7] }, ErrMagic},
		"magic":            {add(0, 1), ErrMagic},
		"magic first":      {func(b []byte) []byte { clear(b[:headerBytes]); return b }, ErrMagic},
		"version":          {func(b []byte) []byte { b[8] = nodeVersionMasks + 1; return b }, ErrVersion},
		"version resealed": {sealed(func(b []byte) []byte { b[8] = nodeVersionMasks + 1; return b }), ErrVersion},
		"version of short": {func(b []byte) []byte { b[8] = nodeVersionMasks + 1; return b[:20] }, ErrVersion},
		"version of other": {sealed(func(b []byte) []byte {
			b[8] = []byte{FormPages: nodeVersionMasks, FormDifferences: nodeVersionDonors}[form]
			return b
		}), ErrFormat},
		"half a header":  {func(b []byte) []byte { return b[:differencesHeaderBytes/2] }, ErrLength},
		"form":           {func(b []byte) []byte { b[24] ^= 3; return b }, ErrChecksum},
		"form resealed":  {sealed(func(b []byte) []byte { b[24] = 7; return b }), ErrChecksum},
		"header length":  {func(b []byte) []byte { b[28] ^= 1; return b }, ErrChecksum},
		"total":          {add(16, 1), ErrLength},
		"total resealed": {sealed(add(16, 1)), ErrLength},
		"truncated":      {func(b []byte) []byte { return b[:len(b)-1] }, ErrLength},
		"extended":       {func(b []byte) []byte { return append(b, 0) }, ErrLength},
		"checksum":       {add(headerCRCOffset, 1), ErrChecksum},
		"reserved":       {add(headerBytes-8, 1), ErrChecksum},
	}
	if form == FormPages {
		cases["partial data page"] = struct {
			change func(b []byte) []byte
			want   error
		}{sealed(func(b []byte) []byte {
			b = add(headerSectionStart+8, ^uint64(0))(b)
			b = add(headerSectionStart+headerSectionBytes, ^uint64(0))(b)
			return add(headerSectionStart+headerSectionBytes+8, 1)(b)
		}), ErrFormat}
	}
	for id := range sectionCount {
		at := headerSectionStart + int(id)*headerSectionBytes
		for field, off := range map[string]int{"offset": 0, "length": 8} {
			cases[fmt.Sprintf("%v %s", id, field)] = struct {
				change func(b []byte) []byte
				want   error
			}{add(at+off, PageSize), ErrChecksum}
			for n, by := range map[string]uint64{"up": PageSize, "down": ^uint64(PageSize - 1), "wrap": 1 << 63} {
				cases[fmt.Sprintf("%v %s resealed %s", id, field, n)] = struct {
					change func(b []byte) []byte
					want   error
				}{sealed(add(at+off, by)), ErrFormat}
			}
		}
	}
	for name, c := range cases {
		b := c.change(bytes.Clone(file))
		if _, err := readHeader(bytes.NewReader(b), int64(len(b))); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	// Any single bit of the header.
	for bit := range headerBytes * 8 {
		b := bytes.Clone(file[:headerBytes])
		b[bit/8] ^= 1 << (bit % 8)
		want := ErrChecksum
		for i, end := range []int{8, 12, 0, 16, 24} { // magic, version, -, checksum, total
			if bit/8 < end {
				want = []error{ErrMagic, ErrVersion, nil, ErrChecksum, ErrLength}[i]
				break
			}
		}
		if v := le.Uint32(b[8:]); bit/32 == 2 && v >= nodeVersion && v <= nodeVersionMasks {
			want = ErrChecksum // which is read as well
		}
		if _, err := decodeHeader(b, int64(len(file))); !errors.Is(err, want) {
			t.Fatalf("bit %d: %v, want %v", bit, err, want)
		}
	}
}

// One flipped bit in any section is found before anything of it is used, and
// the error names the node.
func TestSectionBitFlips(t *testing.T) {
	for _, form := range bothForms {
		t.Run(form.String(), func(t *testing.T) { testSectionBitFlips(t, form) })
	}
}

func testSectionBitFlips(t *testing.T, form Form) {
	dir, n, path, file := sealedNode(t, form)
	h, err := readHeader(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(5, 5))
	for id := range sectionCount {
		for range 8 {
			sec := h.sections[id]
			if sec.length == 0 {
				continue // machine state beside differences
			}
			at := sec.offset + r.Uint64N(sec.length)
			sealedtest.Damage(t, path, func([]byte) []byte {
				b := bytes.Clone(file)
				b[at] ^= 1 << r.IntN(8)
				return b
			})
			s, err := Open(dir, Options{ReadOnly: true})
			if err != nil {
				t.Fatal(err)
			}
			var got error
			if id == sectionMetadata { // found by opening, with what hangs below
				d := s.Damaged()
				if len(d) != 3 || d[0].Path != path {
					t.Fatalf("damaged: %v", d)
				}
				got = d[0].Err
				if !errors.Is(d[1].Err, ErrOrphan) || !errors.Is(d[2].Err, ErrOrphan) {
					t.Fatalf("children of a damaged node: %v, %v", d[1].Err, d[2].Err)
				}
			} else {
				var node *Node
				if node, got = s.Load(n.ID); node != nil {
					t.Fatalf("%v section: a damaged node was loaded", id)
				}
				for _, child := range s.Children(n.ID) {
					if _, err := s.Load(child.ID); !errors.Is(err, ErrChecksum) || !strings.Contains(err.Error(), n.ID) {
						t.Fatalf("%v section: child: %v", id, err)
					}
				}
				if err := s.Verify(n.ID); !errors.Is(err, ErrChecksum) {
					t.Fatalf("%v section: verify: %v", id, err)
				}
				if _, err := s.Load(n.Parent); err != nil {
					t.Fatalf("%v section: parent: %v", id, err)
				}
			}
			if !errors.Is(got, ErrChecksum) || !strings.Contains(got.Error(), n.ID) || !strings.Contains(got.Error(), id.String()) {
				t.Fatalf("%v section, byte %d: %v", id, at, got)
			}
			if id == sectionData && form == FormPages {
				page := (at - sec.offset) / PageSize
				if want := fmt.Sprintf("data page %d ", page); !strings.Contains(got.Error(), want) || !strings.Contains(got.Error(), "guest page 0x") {
					t.Fatalf("byte %d: %v, want %q", at, got, want)
				}
			}
			s.Close()
		}
	}
}

func TestImageFlip(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	image := addTestImage(t, s)
	path := s.ImagePath(image.ImageDigest)
	for name, c := range map[string]struct {
		change func(b []byte) []byte
		want   error
	}{
		"flip":      {func(b []byte) []byte { b[20*PageSize+5] ^= 4; return b }, ErrChecksum},
		"truncated": {func(b []byte) []byte { return b[:39*PageSize] }, ErrLength},
		"extended":  {func(b []byte) []byte { return append(b, make([]byte, PageSize)...) }, ErrLength},
	} {
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		sealedtest.Damage(t, path, c.change)
		ro, err := Open(dir, Options{ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ro.Load(image.ID); !errors.Is(err, c.want) {
			t.Errorf("%s: load: %v", name, err)
		}
		if err := ro.Verify(image.ID); !errors.Is(err, c.want) {
			t.Errorf("%s: verify: %v", name, err)
		}
		ro.Close()
		sealedtest.Damage(t, path, func([]byte) []byte { return good })
	}
}

// A file whose checksums are right but whose content is another node's.
func TestForgedNode(t *testing.T) {
	dir, n, path, file := sealedNode(t, FormPages)
	h, err := readHeader(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	forge := func(change func(b []byte)) *Store {
		sealedtest.Damage(t, path, func([]byte) []byte {
			b := bytes.Clone(file)
			change(b)
			for id := range sectionCount {
				if sec := h.sections[id]; id != sectionData {
					binary.LittleEndian.PutUint32(b[headerSectionStart+int(id)*headerSectionBytes+16:], checksum(b[sec.offset:sec.offset+sec.length]))
				}
			}
			resealHeader(b)
			return b
		})
		s, err := Open(dir, Options{ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := forge(func(b []byte) { b[h.sections[sectionState].offset] ^= 1 })
	if _, err := s.Load(n.ID); err != nil {
		t.Errorf("load: %v", err)
	}
	if err := s.Verify(n.ID); !errors.Is(err, ErrIdentity) {
		t.Errorf("other state: %v", err)
	}
	s = forge(func(b []byte) { // a run that leaves the data section
		at := h.sections[sectionIndex].offset
		b[skipVarints(b, at, 5)] = 0x7f
	})
	if _, err := s.Load(n.ID); !errors.Is(err, ErrFormat) {
		t.Errorf("forged run: %v", err)
	}
	s = forge(func(b []byte) { // a smaller guest
		binary.PutUvarint(b[h.sections[sectionIndex].offset:], testGuestPages-1)
	})
	if _, err := s.Load(n.ID); !errors.Is(err, ErrFormat) {
		t.Errorf("forged guest size: %v", err)
	}
	// A node that is its own parent hangs on no root.
	s = forge(func(b []byte) {
		sec := h.sections[sectionMetadata]
		meta := b[sec.offset : sec.offset+sec.length]
		copy(meta, bytes.Replace(bytes.Clone(meta), []byte(n.Parent), []byte(n.ID), 1))
	})
	if d := s.Damaged(); len(d) != 3 || !errors.Is(d[0].Err, ErrOrphan) {
		t.Errorf("circle: %v", d)
	}
	// A good file under a wrong name.
	sealedtest.Damage(t, path, func([]byte) []byte { return file })
	other := strings.Repeat("0", 64)
	if err := os.WriteFile(s.nodePath(other), file, sealed.Mode); err != nil {
		t.Fatal(err)
	}
	s, err = Open(dir, Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if d := s.Damaged(); len(d) != 1 || !errors.Is(d[0].Err, ErrIdentity) {
		t.Errorf("wrong name: %v", d)
	}
}

// skipVarints returns where the n-th number after the one at offset at begins.
func skipVarints(b []byte, at uint64, n int) uint64 {
	for ; n > 0; n-- {
		_, size := binary.Uvarint(b[at:])
		at += uint64(size)
	}
	return at
}

// decodeAll reads a whole node file as Open, Load and Verify do.
func decodeAll(b []byte) (*Info, *pageIndex, error) {
	r := bytes.NewReader(b)
	h, err := readHeader(r, int64(len(b)))
	if err != nil {
		return nil, nil, err
	}
	meta, err := h.readSection(r, sectionMetadata)
	if err != nil {
		return nil, nil, err
	}
	info, err := decodeInfo(meta)
	if err != nil {
		return nil, nil, err
	}
	x, err := readIndex(r, h, &info.Info)
	if err != nil {
		return nil, nil, err
	}
	if _, err := h.readSection(r, sectionState); err != nil {
		return nil, nil, err
	}
	switch {
	case h.form == FormDifferences:
		var data []byte
		if data, err = h.readSection(r, sectionData); err != nil {
			return nil, nil, err
		}
		err = decodeDifferences(h.version, data, x)
	case info.Kind != KindImage:
		err = readPages(r, int64(h.sections[sectionData].offset), 0, x.ownPages(), func(uint64, []byte) error { return nil })
	}
	return &info.Info, x, err
}

// decodeDifferences applies them to a parent of zeroes, whose checksums they need
// not meet.
func decodeDifferences(version uint32, data []byte, x *pageIndex) error {
	d, err := parseDifferences(version, data, x.dataPages)
	if err == nil {
		err = d.unpack(nil)
	}
	if err != nil {
		return err
	}
	d.state(nil)
	p, err := newPatches(d, x, NewView(x.guestPages))
	if err != nil {
		return err
	}
	var content [PageSize]byte
	for page := range x.dataPages {
		p.copyPage(content[:], page)
	}
	return nil
}

// reseal gives mutated bytes right checksums where the layout still allows it,
// so that fuzzing reaches the code behind them.
func reseal(b []byte) {
	if len(b) < differencesHeaderBytes {
		return
	}
	le := binary.LittleEndian
	sections := sectionCount
	if le.Uint32(b[8:]) == nodeVersionDonors && len(b) >= pagesHeaderBytes {
		sections = maxSections
	}
	for id := range sections {
		at := headerSectionStart + int(id)*headerSectionBytes
		off, n := le.Uint64(b[at:]), le.Uint64(b[at+8:])
		if (id != sectionData || le.Uint32(b[24:]) == uint32(FormDifferences)) && off <= uint64(len(b)) && n <= uint64(len(b))-off {
			le.PutUint32(b[at+16:], checksum(b[off:off+n]))
		}
	}
	resealHeader(b)
}

func FuzzNodeFile(f *testing.F) {
	s := openStore(f, f.TempDir())
	image := addTestImage(f, s)
	g := newGuest(testGuestPages) // a small file makes for fast mutation
	g.reset(image.View())
	g.fill(3, 1)
	g.fill(40, 0)
	g.fill(700, 1)
	key := Key{Function: "f", Imports: []string{"os"}, Args: []Binding{{Key: "k", Digest: digestOf(nil)}}}
	base := capture(f, s, NodeSpec{Kind: KindBase, State: []byte("state"), Key: key}, image, g)
	g.fill(41, 5)
	function := capture(f, s, NodeSpec{Kind: KindFunction, State: []byte("state 2")}, base, g)
	shared, _ := smallSiblings(f, s, image)
	for _, n := range []*Node{image, base, function, shared} {
		b, err := os.ReadFile(s.nodePath(n.ID))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, false)
		f.Add(b, true)
		f.Add(b[:len(b)-100], true)
	}
	f.Fuzz(func(t *testing.T, b []byte, sealed bool) {
		if sealed {
			b = bytes.Clone(b)
			reseal(b)
		}
		info, x, err := decodeAll(b)
		if err != nil {
			return
		}
		if err := info.validate(); err != nil {
			t.Fatalf("accepted metadata is invalid: %v", err)
		}
		if again, err := decodeIndex(x.encode()); err != nil || len(again.runs) != len(x.runs) {
			t.Fatalf("an accepted index is refused when written again: %v", err)
		}
		if x.guestPages < 1<<16 && x.dataPages == 0 {
			v := NewView(x.guestPages).With(x.viewRuns(nil, nil))
			if v.Pages() != info.GuestPages {
				t.Fatal("view of another size")
			}
		}
	})
}

func FuzzIndex(f *testing.F) {
	f.Add((&pageIndex{}).encode())
	f.Add((&pageIndex{guestPages: 100, dataPages: 65, runs: []indexRun{{1, 2, 3}, {3, 1, zeroRun}}, sums: make([]uint32, 65)}).encode())
	f.Add((&pageIndex{guestPages: 9, dataPages: 1, runs: []indexRun{{1, 1, 0}}, sums: []uint32{5}, digests: make([]Digest, 1)}).encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := decodeIndex(b)
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatalf("not ErrFormat: %v", err)
			}
			return
		}
		if !bytes.Equal(x.encode(), b) {
			t.Fatal("two encodings of one index")
		}
		_ = x.guestRuns(0, x.dataPages)
	})
}

// FuzzDifferences decodes hostile differences of two pages that are packed well.
func FuzzDifferences(f *testing.F) {
	var e deltaEncoder
	e.addState([]byte("old state"), []byte("new state, longer"))
	g := newGuest(2)
	g.fill(0, 1)
	g.fill(1, 2)
	e.add(zeroPage[:], g.page(0))
	e.add(g.page(0), g.page(1))
	data, err := e.encode()
	if err != nil {
		f.Fatal(err)
	}
	raw, err := s2.Decode(nil, data[diffsHeaderBytes:])
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw, uint32(e.stateBytes), uint32(len(e.words)/wordBytes))
	f.Add(make([]byte, 2*pageMaskBytes), uint32(0), uint32(0))
	f.Add(make([]byte, 8+2*pageMaskBytes+1), uint32(9), uint32(1))
	// Of version 2.
	f.Add([]byte{0, 3, 0, 0, 0}, uint32(0), uint32(0))
	f.Add([]byte{1, 2, 1, 1, 0xff}, uint32(0), uint32(0))
	f.Add(append([]byte{9, 11, 1, 2, 0, 1, 2, 5, 1, 0, 9, 1, 0}, make([]byte, 6*wordBytes)...), uint32(0), uint32(0))
	zstdEncoder, err := zstd.NewWriter(nil, zstd.WithSingleSegment(true))
	if err != nil {
		f.Fatal(err)
	}
	x := &pageIndex{guestPages: 2, dataPages: 2, runs: []indexRun{{0, 2, 0}}, sums: make([]uint32, 2)}
	f.Fuzz(func(t *testing.T, raw []byte, state, words uint32) {
		runs := zstdEncoder.EncodeAll(raw, binary.LittleEndian.AppendUint32(nil, uint32(len(raw))))
		for _, data := range [][]byte{packDifferences(raw, state, words), runs, raw} { // the last not packed at all
			for _, version := range []uint32{nodeVersion, nodeVersionMasks} {
				if err := decodeDifferences(version, data, x); err != nil && !errors.Is(err, ErrFormat) {
					t.Fatal(err)
				}
			}
		}
	})
}

// Words come back as they were, whatever they are.
func FuzzWords(f *testing.F) {
	f.Add([]byte("12345678"))
	f.Add(slices.Concat(make([]byte, 16), []byte("abcdefghabcdefgiabcdxxxx\x01\x00\x00\x00\x00\x00\x00\x00"), make([]byte, 300), []byte("abcdefgh")))
	f.Fuzz(func(t *testing.T, words []byte) {
		n := len(words) / wordBytes
		words = words[:n*wordBytes]
		coded := appendCoded(nil, words)
		out := make([]byte, len(words))
		if err := decodeWords(out, coded[:n], append(coded[n:], "whatever"...)); err != nil || !bytes.Equal(out, words) {
			t.Fatalf("%x: %x, %v", words, out, err)
		}
	})
}
