package tests

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"seuss/dispatcher"
	"seuss/guest"
	"seuss/lineage"
	"seuss/lineage/oci"
)

const counterFunction = `
import json
table = {str(n): n * n for n in range(2000)}
def handler(event, context):
    return [table[event["n"]], len(table)]
`

func checkCounter(t *testing.T, d *dispatcher.Dispatcher, node string) {
	t.Helper()
	for range 3 {
		r, err := d.Invoke(context.Background(), dispatcher.Request{Function: "counter", Event: []byte(`{"n": "1999"}`)})
		if err != nil {
			t.Fatal(describe(err))
		}
		if string(r.Output) != "[3996001, 2000]" || r.NodeID != node {
			t.Fatalf("%s from node %s, want node %s", r.Output, r.NodeID, node)
		}
	}
}

func functionNode(t *testing.T, d *dispatcher.Dispatcher, name string) *lineage.Node {
	t.Helper()
	nodes := d.Store().Function(name)
	if len(nodes) != 1 {
		t.Fatalf("%d nodes of %s", len(nodes), name)
	}
	return nodes[0]
}

// A function runs the same from either form of its node, and on another host's
// store, to which it came as an OCI image.
func TestNodeTravels(t *testing.T) {
	t.Parallel()
	dir := copyState(t)
	d := openAt(t, dir, nil)
	deploy(t, d, "counter", counterFunction, nil)
	n := functionNode(t, d, "counter")
	checkCounter(t, d, n.ID)
	layout := filepath.Join(t.TempDir(), "layout")
	for _, form := range []lineage.Form{lineage.FormPages, lineage.FormDifferences} {
		if _, _, err := d.Store().Reform(n.ID, form); err != nil {
			t.Fatal(err)
		}
		if err := d.Store().Inspect().Verify(n.ID); err != nil {
			t.Fatal(err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		d = openAt(t, dir, nil)
		checkCounter(t, d, n.ID)
	}
	bundle, err := oci.Export(d.Store(), n.ID, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer bundle.Close()
	if err := oci.WriteLayout(layout, "counter@v1", bundle); err != nil {
		t.Fatal(err)
	}

	// A store that has nothing but the image's name.
	other := t.TempDir()
	s, err := lineage.Open(other, lineage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	src, err := oci.OpenLayout(layout, "")
	if err != nil {
		t.Fatal(err)
	}
	done, err := oci.Import(s, src, oci.ImportOptions{ABIVersion: guest.KernelVersion})
	if err != nil || done.Node.ID != n.ID {
		t.Fatalf("%+v, %v", done, err)
	}
	if _, err := d.Images().TagNew("python", n.ImageDigest); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	there := openAt(t, other, nil)
	if named, err := there.Images().TagNew("python", n.ImageDigest); err != nil || !named {
		t.Fatal(err)
	}
	deploy(t, there, "counter", counterFunction, nil)
	if got := functionNode(t, there, "counter"); got.ID != n.ID {
		t.Fatalf("deployed as %s, the imported node is %s", got.ID, n.ID)
	}
	checkCounter(t, there, n.ID)
}

// A flipped bit in a page that the function's machine would see is found before it
// does, whenever pages are checked.
func TestDamagedPageNeverRuns(t *testing.T) {
	dir, n, want := counterAsPages(t)
	damage(t, nodeFile(dir, n.ID), func(b []byte) []byte {
		pages := binary.LittleEndian.Uint64(b[40:]) / lineage.PageSize
		b[lineage.PageSize*(1+pages/2)+123] ^= 4
		return b
	})
	for _, when := range []lineage.Verify{lineage.VerifyEager, lineage.VerifyLazy, lineage.VerifyDemand} {
		d := openAt(t, dir, func(o *dispatcher.Options) { o.Verify = when; o.ReadOnly = true })
		r, err := d.Invoke(context.Background(), dispatcher.Request{Function: "counter", Event: []byte(`{"n": "7"}`)})
		if when == lineage.VerifyDemand && err == nil {
			// No machine has touched it. That those which are touched are named is shown
			// by TestColdTierDamage of the dispatcher.
			if string(r.Output) != want {
				t.Errorf("it answers %s %v, want %s", r.Output, r.Error, want)
			}
		} else if !errors.Is(err, lineage.ErrChecksum) || !strings.Contains(err.Error(), n.ID) || !strings.Contains(err.Error(), "guest page 0x") {
			t.Errorf("%v", err)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}

// copyState returns a state directory of the test's own with the image in it.
func copyState(t *testing.T) string {
	t.Helper()
	from, to := sharedState(t), t.TempDir()
	if err := os.CopyFS(filepath.Join(to, "images"), os.DirFS(filepath.Join(from, "images"))); err != nil {
		t.Fatal(err)
	}
	return to
}
