package dispatcher

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"seuss/dispatcher/instance/instancetest"
	"seuss/lineage"
	"seuss/vmm/vmmtest"
)

const coldFunction = `
import json
table = {str(n): [n, n * n] for n in range(20000)}
def handler(event, context):
    return [table[key] for key in event["keys"]] + [json.dumps(event)]
`

// coldBench is a state directory of the test's own in which a function is deployed.
type coldBench struct {
	*testing.T
	dir string
}

func newColdBench(t *testing.T) *coldBench {
	t.Helper()
	vmmtest.Require(t)
	b := &coldBench{t, t.TempDir()}
	if err := os.CopyFS(filepath.Join(b.dir, "images"), os.DirFS(filepath.Join(instancetest.StateDir(t), "images"))); err != nil {
		t.Fatal(err)
	}
	d := b.open(Options{})
	defer b.close(d)
	n, err := d.Deploy(context.Background(), FunctionSpec{Name: "cold", Handler: "main.handler", Files: map[string][]byte{"main.py": []byte(coldFunction)}})
	if err != nil {
		t.Fatal(err)
	}
	// As whole pages the node is paged in too.
	if _, _, err := d.store.Reform(n.ID, lineage.FormPages); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *coldBench) open(o Options) *Dispatcher {
	b.Helper()
	o.StateDir, o.Platform = b.dir, vmmtest.Require(b.T)
	d, err := Open(o)
	if err != nil {
		b.Fatal(err)
	}
	return d
}

func (b *coldBench) close(d *Dispatcher) {
	if err := d.Close(); err != nil {
		b.Error(err)
	}
}

func (b *coldBench) node(d *Dispatcher) *lineage.Node {
	b.Helper()
	for _, n := range d.store.Function("cold") {
		if n.Kind == lineage.KindFunction {
			return n
		}
	}
	b.Fatal("no node")
	return nil
}

func (b *coldBench) invoke(d *Dispatcher, keys string) error {
	b.Helper()
	r, err := d.Invoke(context.Background(), Request{Function: "cold", Event: []byte(`{"keys": [` + keys + `]}`)})
	if err == nil && r.Error != nil {
		err = r.Error
	}
	if err == nil && !strings.HasPrefix(string(r.Output), "[[") {
		err = fmt.Errorf("answer %s", r.Output)
	}
	return err
}

// TestColdTier: the first run is recorded, later processes use the recording,
// whatever they do with it a machine shows the node's memory byte for byte, and with
// other input too.
func TestColdTier(t *testing.T) {
	vmmtest.RequirePaging(t)
	b := newColdBench(t)
	demand := Options{Verify: lineage.VerifyDemand}
	d := b.open(demand)
	if err := b.invoke(d, `"1", "77"`); err != nil {
		t.Fatal(err)
	}
	b.close(d)
	for _, how := range []Prefetch{PrefetchBeside, PrefetchFirst, PrefetchNone} {
		demand.Prefetch = how
		d := b.open(demand)
		set, err := d.store.LoadingSet(b.node(d))
		if err != nil || set.Len() < 100 {
			t.Fatalf("loading set of %d pages, %v", set.Len(), err)
		}
		if err := b.invoke(d, `"19999", "5000"`); err != nil {
			t.Error(how, err)
		}
		if read := d.events.prefetched.Load(); how == PrefetchFirst && read < set.Len()/2 || how == PrefetchNone && read > 0 {
			t.Errorf("%v: %d of %d pages were prefetched", how, read, set.Len())
		}
		b.sameMemory(d)
		b.close(d)
	}
}

// sameMemory compares a fresh machine, of which nothing has run, with the node as
// another process reads it.
func (b *coldBench) sameMemory(d *Dispatcher) {
	b.Helper()
	id := b.node(d).ID
	tg, err := d.snapshots.Get(id)
	if err != nil {
		b.Fatal(err)
	}
	img, err := d.images.get("")
	if err != nil {
		b.Fatal(err)
	}
	l, err := d.pools.lend(context.Background(), nil, img, tg, false)
	if err != nil {
		b.Fatal(err)
	}
	defer l.destroy()
	s, err := lineage.Open(b.dir, lineage.Options{ReadOnly: true})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	want, err := s.Snapshot(id)
	if err != nil {
		b.Fatal(err)
	}
	differ := 0
	for page := range want.View.Pages() {
		w := want.View.Bytes(page)
		if w == nil {
			w = make([]byte, lineage.PageSize)
		}
		if !bytes.Equal(l.Page(page), w) {
			differ++
		}
	}
	// The identity page, and what restoring a machine writes.
	if differ > 4 {
		b.Errorf("%d pages differ", differ)
	}
}

// TestColdTierDamage: a loading set is a hint, and a page that is not what was sealed
// is named and not run.
func TestColdTierDamage(t *testing.T) {
	vmmtest.RequirePaging(t)
	b := newColdBench(t)
	demand := Options{Verify: lineage.VerifyDemand}
	d := b.open(demand)
	if err := b.invoke(d, `"1"`); err != nil {
		t.Fatal(err)
	}
	n := b.node(d)
	tg, err := d.snapshots.Get(n.ID)
	if err != nil {
		t.Fatal(err)
	}
	set, err := d.store.LoadingSet(n)
	if err != nil {
		t.Fatal(err)
	}
	view := tg.View
	b.close(d)
	path := filepath.Join(b.dir, "nodes", n.ID+".load")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range [][]byte{nil, good[:len(good)/2], flipped(good, len(good)-3), bytes.Repeat([]byte{0xff}, len(good))} {
		if err := os.WriteFile(path, bad, 0o644); err != nil {
			t.Fatal(err)
		}
		d := b.open(Options{Verify: lineage.VerifyDemand, ReadOnly: true})
		if err := b.invoke(d, `"2"`); err != nil {
			t.Errorf("with a damaged loading set: %v", err)
		}
		b.close(d)
	}
	if err := os.WriteFile(path, good, 0o644); err != nil {
		t.Fatal(err)
	}
	// Every page that the first run needed: one bit of it.
	tried := 0
	for at := 0; at < len(set) && tried < 6; at += len(set)/6 + 1 {
		page := set[at].First
		run := view.Lookup(page)
		file := b.dir + "/nodes/" + strings.TrimPrefix(run.Blob.Name(), "of node ") + ".node"
		off := int64(lineage.PageSize)
		if digest, ok := strings.CutPrefix(run.Blob.Name(), "of image "); ok {
			file, off = b.dir+"/images/"+digest+".img", 0
		}
		off += int64(run.Page)*lineage.PageSize + 100
		tried++
		for _, how := range []Prefetch{PrefetchBeside, PrefetchFirst, PrefetchNone} {
			flipBit(t, file, off)
			d := b.open(Options{Verify: lineage.VerifyDemand, Prefetch: how, ReadOnly: true})
			err := b.invoke(d, `"3"`)
			if !errors.Is(err, lineage.ErrChecksum) || !strings.Contains(err.Error(), fmt.Sprintf("guest page %#x", page)) {
				t.Errorf("guest page %#x, prefetch %d: %v", page, how, err)
			}
			b.close(d)
			flipBit(t, file, off)
		}
	}
	d = b.open(demand)
	defer b.close(d)
	if err := b.invoke(d, `"4"`); err != nil {
		t.Error(err)
	}
}

func flipped(b []byte, at int) []byte {
	c := bytes.Clone(b)
	c[at] ^= 1
	return c
}

func flipBit(t *testing.T, path string, off int64) {
	t.Helper()
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var one [1]byte
	if _, err := f.ReadAt(one[:], off); err != nil {
		t.Fatal(err)
	}
	one[0] ^= 0x10
	if _, err := f.WriteAt(one[:], off); err != nil {
		t.Fatal(err)
	}
}

// TestResident: what an instance takes is told as the kernel counts it: its own
// pages are at least those that it has written, the shared ones those of the nodes.
func TestResident(t *testing.T) {
	b := newColdBench(t)
	for _, o := range []Options{{}, {Verify: lineage.VerifyDemand}} {
		d := b.open(o)
		for range 3 {
			r, err := d.Invoke(context.Background(), Request{Function: "cold", Event: []byte(`{"keys": ["5"]}`), Memory: true})
			if err != nil || r.Error != nil {
				t.Fatal(err, r)
			}
			if r.PrivateBytes < r.PagesDirtied*lineage.PageSize/2 || r.PrivateBytes > 64<<20 || r.SharedBytes < 100*lineage.PageSize || r.SharedBytes > 72<<20 {
				t.Errorf("%d bytes private, %d shared, %d pages dirtied", r.PrivateBytes, r.SharedBytes, r.PagesDirtied)
			}
		}
		p := d.Pools()
		if len(p) != 1 || p[0].FreePrivate == 0 {
			t.Errorf("%+v", p)
		}
		b.close(d)
	}
}
