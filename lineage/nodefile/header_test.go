package nodefile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every field of the header, changed alone, gives its own sentinel.
func TestHeaderCorruption(t *testing.T) {
	for _, form := range []Form{FormPages, FormDifferences} {
		t.Run(form.String(), func(t *testing.T) { testHeaderCorruption(t, form) })
	}
}

func testHeaderCorruption(t *testing.T, form Form) {
	version := map[Form]int{FormPages: 2, FormDifferences: 4}[form]
	file := goldenFile(t, version, form)
	headerBytes := int(form.HeaderBytes())
	le := binary.LittleEndian
	add := func(at int, n uint64) func(b []byte) []byte {
		return func(b []byte) []byte { le.PutUint64(b[at:], le.Uint64(b[at:])+n); return b }
	}
	sealed := func(f func(b []byte) []byte) func(b []byte) []byte {
		return func(b []byte) []byte { b = f(b); ResealHeader(b); return b }
	}
	cases := map[string]struct {
		change func(b []byte) []byte
		want   error
	}{
		"empty file":       {func(b []byte) []byte { return nil }, ErrMagic},
		"seven bytes":      {func(b []byte) []byte { return b[:7] }, ErrMagic},
		"magic":            {add(0, 1), ErrMagic},
		"magic first":      {func(b []byte) []byte { clear(b[:headerBytes]); return b }, ErrMagic},
		"version":          {func(b []byte) []byte { b[8] = VersionDifferences + 1; return b }, ErrVersion},
		"version resealed": {sealed(func(b []byte) []byte { b[8] = VersionDifferences + 1; return b }), ErrVersion},
		"version of short": {func(b []byte) []byte { b[8] = VersionDifferences + 1; return b[:20] }, ErrVersion},
		"version of other": {sealed(func(b []byte) []byte {
			b[8] = []byte{FormPages: VersionDifferences, FormDifferences: VersionDonors}[form]
			return b
		}), ErrFormat},
		"half a header":  {func(b []byte) []byte { return b[:DifferencesHeaderBytes/2] }, ErrLength},
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
			b = add(HeaderSectionStart+8, ^uint64(0))(b)
			b = add(HeaderSectionStart+HeaderSectionBytes, ^uint64(0))(b)
			return add(HeaderSectionStart+HeaderSectionBytes+8, 1)(b)
		}), ErrFormat}
	}
	for id := range SectionCount {
		at := HeaderSectionStart + int(id)*HeaderSectionBytes
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
		if _, err := ReadHeader(bytes.NewReader(b), int64(len(b))); !errors.Is(err, c.want) {
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
		if v := le.Uint32(b[8:]); bit/32 == 2 && v >= VersionPages && v <= VersionDifferences {
			want = ErrChecksum // which is read as well
		}
		if _, err := DecodeHeader(b, int64(len(file))); !errors.Is(err, want) {
			t.Fatalf("bit %d: %v, want %v", bit, err, want)
		}
	}
}

// decodeAll reads a whole node file as Open, Load and Verify do.
func decodeAll(b []byte) (*Info, *Index, error) {
	r := bytes.NewReader(b)
	h, err := ReadHeader(r, int64(len(b)))
	if err != nil {
		return nil, nil, err
	}
	meta, err := h.ReadSection(r, SectionMetadata)
	if err != nil {
		return nil, nil, err
	}
	info, err := DecodeMetadata(meta)
	if err != nil {
		return nil, nil, err
	}
	x, err := ReadIndex(r, h, &info.Info)
	if err != nil {
		return nil, nil, err
	}
	if _, err := h.ReadSection(r, SectionState); err != nil {
		return nil, nil, err
	}
	switch {
	case h.Form == FormDifferences:
		var data []byte
		if data, err = h.ReadSection(r, SectionData); err != nil {
			return nil, nil, err
		}
		err = decodeDifferences(h.Version, data, x)
	}
	return &info.Info, x, err
}

// decodeDifferences applies them to a parent of zeroes, whose checksums they need
// not meet.
func decodeDifferences(version uint32, data []byte, x *Index) error {
	d, err := ParseDifferences(version, data, x.DataPages)
	if err == nil {
		err = d.Unpack(nil)
	}
	if err != nil {
		return err
	}
	d.State(nil)
	for page := range x.DataPages {
		var content [PageSize]byte
		d.Apply(content[:], page)
	}
	return nil
}

// golden lists the node files of the golden stores whose format matches.
func golden(t testing.TB, format string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("..", "testdata", "format-"+format, "nodes", "*.node"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	return paths
}

// goldenFile returns a golden node file in the form, with pages.
func goldenFile(t testing.TB, version int, form Form) []byte {
	t.Helper()
	for _, path := range golden(t, fmt.Sprint(version)) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if h, err := ReadHeader(bytes.NewReader(b), int64(len(b))); err == nil && h.Form == form && h.Sections[SectionData].Length > 0 {
			return b
		}
	}
	t.Fatalf("no golden file of format %d in the form %v", version, form)
	return nil
}

// testPage is a page whose content depends on seed only.
func testPage(seed uint64) []byte {
	page := make([]byte, PageSize)
	for i := 0; i < PageSize; i += 64 {
		binary.LittleEndian.PutUint64(page[i:], seed*0x9e3779b97f4a7c15+uint64(i))
	}
	return page
}

// Every golden file but those of version 1, which is refused by name, is read whole.
func TestGoldenFiles(t *testing.T) {
	read := 0
	for _, path := range golden(t, "*") {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		info, x, err := decodeAll(b)
		if strings.Contains(path, "format-1") {
			if !errors.Is(err, ErrVersion) {
				t.Errorf("%s: %v", path, err)
			}
			continue
		}
		if err != nil || info.ID+".node" != filepath.Base(path) || x.GuestPages != info.GuestPages {
			t.Errorf("%s: %v", path, err)
		}
		read++
	}
	if read < 9 {
		t.Errorf("only %d files were read", read)
	}
}
