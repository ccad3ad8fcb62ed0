package lineage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"

	"seuss/guest"
	"seuss/lineage/nodefile"
	"seuss/lineage/pages"
	"seuss/lineage/sealed/sealedtest"
)

// flipBit changes a file in place, under all of its names.
func flipBit(t testing.TB, path string, at int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrPermission) {
		if err = os.Chmod(path, 0o644); err == nil {
			f, err = os.OpenFile(path, os.O_RDWR, 0)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 8
	if _, err := f.WriteAt(b[:], at); err != nil {
		t.Fatal(err)
	}
}

// A flipped bit in a page that two nodes have is found for both, by node, page and
// guest page, whenever pages are checked; a page of one's own only for that one.
func TestDonorDamage(t *testing.T) {
	for _, verify := range []pages.Verify{pages.VerifyEager, pages.VerifyLazy, pages.VerifyDemand} {
		h := newSharing(t, openStore(t, t.TempDir()), 3)
		// Guest page 110 of the first, in the second at 710: data page 10 of the first's file.
		flipBit(t, h.s.nodePath(h.nodes[0].ID), nodefile.PagesHeaderBytes+10*nodefile.PageSize+99)
		h.reopen(t, Options{Verify: verify})
		ids := []string{h.nodes[0].ID, h.nodes[1].ID}
		for i, at := range []uint64{110, 710} {
			want := fmt.Sprintf("guest page %#x", at)
			snapshot, err := h.s.Snapshot(ids[i])
			if verify == pages.VerifyEager {
				if !errors.Is(err, nodefile.ErrChecksum) || !strings.Contains(err.Error(), ids[i]) || !strings.Contains(err.Error(), "data page 10 of node") ||
					!strings.Contains(err.Error(), ids[0]) || !strings.Contains(err.Error(), want) {
					t.Errorf("node %d: load: %v", i, err)
				}
			} else {
				if err != nil {
					t.Fatal(err)
				}
				if err := snapshot.View.Check(at-3, 3); err != nil {
					t.Error(err)
				}
				if err := snapshot.View.Check(at, 1); !errors.Is(err, nodefile.ErrChecksum) || !strings.Contains(err.Error(), ids[0]) || !strings.Contains(err.Error(), ids[i]) || !strings.Contains(err.Error(), want) {
					t.Errorf("node %d: check: %v", i, err)
				}
				run := snapshot.View.Lookup(at)
				if got := snapshot.View.Bytes(at); verify == pages.VerifyDemand && (!guest.IsZero(got) || run.Blob.Filled(run.Page, 1)) {
					t.Errorf("node %d: a damaged page is shown", i)
				}
			}
			if err := (Inspection{h.s}).Verify(ids[i]); !errors.Is(err, nodefile.ErrChecksum) || !strings.Contains(err.Error(), ids[i]) || !strings.Contains(err.Error(), want) {
				t.Errorf("node %d: verify: %v", i, err)
			}
		}
		faults, err := Inspection{h.s}.Audit(t.Context(), nil, nil)
		if err != nil || len(faults) != 3 {
			t.Fatalf("%v, %v", faults, err)
		}
		for _, f := range faults {
			if f.Guest == "" || !slices.ContainsFunc(h.nodes, func(n *Node) bool { return n.ID == f.Node }) {
				t.Errorf("%+v", f)
			}
		}
		// The second's own pages are nobody else's business.
		flipBit(t, h.s.nodePath(ids[1]), nodefile.PagesHeaderBytes+nodefile.PageSize)
		if faults, err = (Inspection{h.s}).Audit(t.Context(), []string{ids[1]}, nil); err != nil || len(faults) != 2 {
			t.Errorf("%v, %v", faults, err)
		}
		if faults, err = (Inspection{h.s}).Audit(t.Context(), []string{ids[0]}, nil); err != nil || len(faults) != 1 {
			t.Errorf("%v, %v", faults, err)
		}
		// A page that is damaged is not taken for a new node.
		n := h.add(t)
		h.s.Unload(n.ID)
		if err := (Inspection{h.s}).Verify(n.ID); err != nil {
			t.Error(err)
		}
		h.check(t, 3)
	}
}

// forgeDonors changes the donors section of a node file and makes its checksums right.
func forgeDonors(t testing.TB, path string, change func(d *nodefile.Donors) []byte) {
	t.Helper()
	sealedtest.Damage(t, path, func(b []byte) []byte {
		h, err := nodefile.ReadHeader(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		section := h.Sections[nodefile.SectionDonors]
		d, err := nodefile.DecodeDonors(b[section.Offset:], 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		raw := change(d)
		if raw == nil {
			raw = d.Encode()
		}
		h.Sections[nodefile.SectionDonors].Length, h.Sections[nodefile.SectionDonors].CRC = uint64(len(raw)), nodefile.Checksum(raw)
		h.Total = section.Offset + uint64(len(raw))
		b = append(b[:section.Offset], raw...)
		copy(b, h.Encode())
		return b
	})
}

func TestHostileDonors(t *testing.T) {
	made := newSharing(t, openStore(t, t.TempDir()), 3)
	made.s.Close()
	a, b, c := made.nodes[0], made.nodes[1], made.nodes[2]
	plain := func(f func(d *nodefile.Donors)) func(d *nodefile.Donors) []byte {
		return func(d *nodefile.Donors) []byte { f(d); return nil }
	}
	varint := func(n uint64) []byte { return binary.AppendUvarint(nil, n) }
	for name, test := range map[string]struct {
		forge func(d *nodefile.Donors) []byte
		files func(t *testing.T, s *Store)
		want  error
		says  string
	}{
		"beyond what the file can hold": {forge: plain(func(d *nodefile.Donors) { d.Runs[0].Page = 1 << 40 }), want: nodefile.ErrFormat, says: "whose file has"},
		"beyond the donor's pages":      {forge: plain(func(d *nodefile.Donors) { d.Runs[0].Page = 400; d.Runs[0].Count = 2 }), want: nodefile.ErrFormat},
		"the end of the donor's pages":  {forge: plain(func(d *nodefile.Donors) { d.Runs[len(d.Runs)-1].Page = 401 - d.Runs[len(d.Runs)-1].Count }), want: nodefile.ErrFormat, says: "it has 400"},
		"another page":                  {forge: plain(func(d *nodefile.Donors) { d.Runs[0].Page++ }), want: nodefile.ErrIdentity, says: "sealed as another one"},
		"more pages":                    {forge: plain(func(d *nodefile.Donors) { d.Runs[len(d.Runs)-1].Count++ }), want: nodefile.ErrFormat},
		"overlapping runs":              {forge: plain(func(d *nodefile.Donors) { d.Runs = append(d.Runs, d.Runs[0]) }), want: nodefile.ErrFormat},
		"another length":                {forge: plain(func(d *nodefile.Donors) { d.List[0].Length += nodefile.PageSize }), want: nodefile.ErrIdentity, says: "another file"},
		"another header":                {forge: plain(func(d *nodefile.Donors) { d.List[0].CRC++ }), want: nodefile.ErrIdentity, says: "another file"},
		"another id":                    {forge: plain(func(d *nodefile.Donors) { d.List[0].ID = b.ID }), want: nodefile.ErrIdentity},
		"a link that is not there":      {forge: plain(func(d *nodefile.Donors) { d.List[0].Ordinal = 7 }), want: fs.ErrNotExist, says: "link 7"},
		"an absurd link":                {forge: plain(func(d *nodefile.Donors) { d.List[0].Ordinal = nodefile.MaxLinks }), want: nodefile.ErrFormat},
		"no donor":                      {forge: func(*nodefile.Donors) []byte { return []byte{0, 0} }, want: nodefile.ErrFormat},
		"too many donors":               {forge: func(*nodefile.Donors) []byte { return varint(nodefile.MaxDonors + 1) }, want: nodefile.ErrFormat},
		"absurdly many donors":          {forge: func(*nodefile.Donors) []byte { return varint(1 << 62) }, want: nodefile.ErrFormat},
		"absurdly many runs": {forge: func(d *nodefile.Donors) []byte {
			d.Runs = nil
			raw := d.Encode()
			return append(raw[:len(raw)-1], varint(1<<62)...)
		}, want: nodefile.ErrFormat},
		"donor that is not used": {forge: plain(func(d *nodefile.Donors) {
			more := d.List[0]
			more.Ordinal++
			d.List = append(d.List, more)
		}), want: nodefile.ErrFormat},
		"the same link twice": {forge: plain(func(d *nodefile.Donors) { d.List = append(d.List, d.List[0]) }), want: nodefile.ErrFormat},
		"bytes at the end":    {forge: func(d *nodefile.Donors) []byte { return append(d.Encode(), 0) }, want: nodefile.ErrFormat},
		"missing link": {files: func(t *testing.T, s *Store) { remove(t, s.linkPath(c.ID, 0)) },
			want: fs.ErrNotExist, says: "300 of its pages lie in the file of node " + a.ID[:12]},
		"wrong donor": {files: func(t *testing.T, s *Store) {
			remove(t, s.linkPath(c.ID, 0))
			if err := os.Link(s.nodePath(b.ID), s.linkPath(c.ID, 0)); err != nil {
				t.Fatal(err)
			}
		}, want: nodefile.ErrIdentity, says: "another file"},
		"link to a directory": {files: func(t *testing.T, s *Store) {
			remove(t, s.linkPath(c.ID, 0))
			if err := os.Mkdir(s.linkPath(c.ID, 0), 0o755); err != nil {
				t.Fatal(err)
			}
		}, says: "link 0"},
		"damaged index of the donor": {files: func(t *testing.T, s *Store) {
			h, _ := headerOf(t, s.linkPath(c.ID, 0))
			flipBit(t, s.linkPath(c.ID, 0), int64(h.Sections[nodefile.SectionIndex].Offset+50))
		}, want: nodefile.ErrChecksum, says: "index section"},
		"shorter donor": {files: func(t *testing.T, s *Store) {
			sealedtest.Damage(t, s.linkPath(c.ID, 0), func(b []byte) []byte { return b[:len(b)-100] })
		}, want: nodefile.ErrLength},
		// A donor whose own pages lie with a donor has no page there.
		"chain": {files: func(t *testing.T, s *Store) {
			remove(t, s.linkPath(c.ID, 0))
			if err := os.Link(s.nodePath(b.ID), s.linkPath(c.ID, 0)); err != nil {
				t.Fatal(err)
			}
			raw, err := os.ReadFile(s.nodePath(b.ID))
			if err != nil {
				t.Fatal(err)
			}
			h, err := nodefile.ReadHeader(bytes.NewReader(raw), int64(len(raw)))
			if err != nil {
				t.Fatal(err)
			}
			forgeDonors(t, s.nodePath(c.ID), plain(func(d *nodefile.Donors) {
				d.List[0] = nodefile.Donor{Ordinal: 0, Length: h.Total, CRC: h.CRC, ID: b.ID}
				d.Runs = []nodefile.DonorRun{{First: 0, Count: 150, Page: 0}, {First: 150, Count: 150, Page: 0}}
				d.Pages = 300
			}))
		}, want: nodefile.ErrFormat},
	} {
		t.Run(name, func(t *testing.T) {
			dir := copyTree(t, made.s.Dir())
			s, err := Open(dir, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if test.files != nil {
				test.files(t, s)
			}
			if test.forge != nil {
				forgeDonors(t, s.nodePath(c.ID), test.forge)
			}
			s.Close()
			s = openStore(t, dir)
			_, loading := s.Load(c.ID)
			for what, err := range map[string]error{"load": loading, "verify": (Inspection{s}).Verify(c.ID)} {
				if what == "verify" && name == "another page" { // its content is looked at first
					if !errors.Is(err, nodefile.ErrChecksum) {
						t.Errorf("verify: %v", err)
					}
					continue
				}
				if err == nil || test.want != nil && !errors.Is(err, test.want) || !strings.Contains(err.Error(), c.ID) || what == "load" && !strings.Contains(err.Error(), test.says) {
					t.Errorf("%s: %v, want %v, %q", what, err, test.want, test.says)
				}
			}
			for _, n := range []*Node{a, b} {
				if _, err := s.Load(n.ID); err != nil {
					t.Error(err)
				}
			}
			// A new sibling is stored all the same, and the bad one can be removed.
			h := &sharing{s: s, image: s.lookup(made.image.ID), nodes: make([]*Node, 3), mem: make([][]byte, 3)}
			h.add(t)
			h.check(t, 3)
			if err := s.Remove(c.ID, false); err != nil {
				t.Error(err)
			}
		})
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func headerOf(t testing.TB, path string) (*nodefile.Header, []byte) {
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	h, err := nodefile.ReadHeader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return h, b
}
