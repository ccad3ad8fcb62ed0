package lineage

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"testing"

	"seuss/guest"
	"seuss/images/layer"
	"seuss/lineage/imagefile"
	"seuss/lineage/nodefile"
	"seuss/lineage/pages"
	"seuss/lineage/sealed/sealedtest"
)

// testLayer stores a layer of one file, of 40 pages.
func testLayer(t testing.TB, s *Store, seed byte) *layer.Header {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	data := bytes.Repeat([]byte{seed, seed + 1, 3}, 40*guest.PageSize/3)
	err := w.WriteHeader(&tar.Header{Name: "f", Typeflag: tar.TypeReg, Size: int64(len(data)), Mode: 0o644, Format: tar.FormatPAX})
	if err == nil {
		_, err = w.Write(data)
	}
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	h, err := layerStore(s).Add(t.Context(), &b, layer.AddOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// layeredRAM is the RAM of guests of layered images, in pages.
const layeredRAM = 64

// layeredImage stores an image of two pages of its own and these layers, of the first of
// which guests see two pages from page 8 on as well. It returns its node and what a guest
// shows.
func layeredImage(t testing.TB, s *Store, name string, layers ...*layer.Header) (*Node, []byte) {
	t.Helper()
	own := make([]byte, 2*guest.PageSize)
	h := guest.ImageHeader{
		Magic: guest.ImageMagic, Version: guest.ImageVersion, OwnBytes: uint64(len(own)),
		LayersOff: 512, LayerCount: uint64(len(layers)), ExtentsOff: 4096, ExtentCount: 1,
	}
	copy(own[guest.PageSize+100:], name)
	end := h.OwnBytes
	for i, l := range layers {
		ref := guest.ImageLayer{Off: (end+guest.ImageAlign-1)/guest.ImageAlign*guest.ImageAlign + guest.PageSize, Bytes: l.ContentEnd - guest.PageSize, Digest: l.Digest}
		if i == 0 {
			encodeAt(t, own[h.ExtentsOff:], guest.ImageExtent{GPA: 8 * guest.PageSize, Off: ref.Off + 3*guest.PageSize, Bytes: 2 * guest.PageSize})
		}
		encodeAt(t, own[h.LayersOff+uint64(i)*guest.ImageLayerSize:], ref)
		end = ref.Off + ref.Bytes
	}
	h.TotalBytes = end
	encodeAt(t, own, h)
	digest := fmt.Sprintf("%x", sha256.Sum256(own))
	if err := os.WriteFile(s.ImagePath(digest), own, 0o400); err != nil {
		t.Fatal(err)
	}
	guestPages := layeredRAM + end/guest.PageSize
	n, err := s.AddImage(digest, s.ImagePath(digest), guestPages, []ImageRun{{First: layeredRAM, Count: 2}})
	if err != nil {
		t.Fatal(err)
	}
	want := make([]byte, guestPages*guest.PageSize)
	copy(want[layeredRAM*guest.PageSize:], own)
	tables, err := imagefile.ReadFile(s.ImagePath(digest))
	if err != nil {
		t.Fatal(err)
	}
	for i, l := range layers {
		file, err := os.ReadFile(layerStore(s).Path(l.Digest))
		if err != nil {
			t.Fatal(err)
		}
		content := file[guest.PageSize:l.ContentEnd]
		copy(want[layeredRAM*guest.PageSize+tables.Layers[i].Off:], content)
		if i == 0 {
			copy(want[8*guest.PageSize:10*guest.PageSize], content[3*guest.PageSize:])
		}
	}
	return n, want
}

func encodeAt(t testing.TB, b []byte, v any) {
	t.Helper()
	if _, err := binary.Encode(b, binary.LittleEndian, v); err != nil {
		t.Fatal(err)
	}
}

// TestLayers: guests see an image's layers, at the same place in their stretches of 2 MiB as
// in the layers' files, whenever pages are checked; what two images have in common is
// mapped, and counted, once.
func TestLayers(t *testing.T) {
	for _, verify := range []pages.Verify{pages.VerifyEager, pages.VerifyLazy, pages.VerifyDemand} {
		t.Run(fmt.Sprint(verify), func(t *testing.T) { testLayers(t, verify) })
	}
}

func testLayers(t *testing.T, verify pages.Verify) {
	s := openStoreAs(t, t.TempDir(), Options{Verify: verify})
	base := testLayer(t, s, 1)
	one, wantOne := layeredImage(t, s, "one", base, testLayer(t, s, 2))
	two, wantTwo := layeredImage(t, s, "two", base)
	for _, n := range []*Node{one, two} {
		if _, err := s.Load(n.ID); err != nil {
			t.Fatal(err)
		}
		if err := n.View().Check(0, n.View().Pages()); err != nil {
			t.Fatal(err)
		}
	}
	checkView(t, one.View(), wantOne)
	checkView(t, two.View(), wantTwo)
	at := layeredRAM + uint64(guest.ImageAlign+guest.PageSize)/guest.PageSize
	first, second := one.View().Lookup(at), two.View().Lookup(at)
	if first.Blob == nil || first.Blob != second.Blob || first.Page != (at-layeredRAM)%(guest.ImageAlign/guest.PageSize) {
		t.Errorf("the layer is shown as %+v and %+v", first, second)
	}
	g := newGuest(two.View().Pages())
	g.reset(two.View())
	g.fill(at+1, 77) // a guest writes to a layer's page
	g.fill(9, 78)
	child := capture(t, s, NodeSpec{State: []byte("x")}, two, g)
	want := bytes.Clone(g.mem)
	if _, err := s.Load(child.ID); err != nil {
		t.Fatal(err)
	}
	checkView(t, child.View(), want)
	checkView(t, two.View(), wantTwo)

	stats, err := s.Inspect().Stats()
	if err != nil {
		t.Fatal(err)
	}
	disk := int64(0)
	for _, l := range mustList(t, s) {
		disk += int64(l.Header.Total)
	}
	sum := int64(0)
	for _, n := range []*Node{one, two} {
		sum += int64(stats[n.ID].FileBytes) - int64(n.StoredBytes()) - 2*guest.PageSize
	}
	if sum != disk {
		t.Errorf("the images' layers take %d bytes, by the store's files %d", sum, disk)
	}
	// 40 pages that both have, and a page of small content at most in each layer.
	if u := stats[two.ID]; u.UniqueBytes > 3*guest.PageSize || u.SharedBytes < 39*guest.PageSize {
		t.Errorf("the second image: %+v", u)
	}
	if err := s.Inspect().Verify(one.ID); err != nil {
		t.Error(err)
	}
}

func mustList(t testing.TB, s *Store) []layer.Stored {
	t.Helper()
	list, err := layerStore(s).List()
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestLayersCorrupt: a layer that is missing, another one, or damaged is refused, with its name,
// and a page that has changed is shown to nobody.
func TestLayersCorrupt(t *testing.T) {
	for name, c := range map[string]struct {
		change func(t *testing.T, path string)
		want   error
		text   string
	}{
		// Digests are read by who verifies, checksums by who loads.
		"digest": {flip(-40), nil, ""},
		"missing": {func(t *testing.T, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}, fs.ErrNotExist, ".layer"},
		"header": {flip(40), layer.ErrCorrupt, ".layer"},
		"page":   {flip(9*guest.PageSize + 1234), nodefile.ErrChecksum, "of layer "},
		"sums":   {flip(-40*32 - 2), nodefile.ErrChecksum, "of layer "},
		"short": {func(t *testing.T, path string) {
			sealedtest.Damage(t, path, func(b []byte) []byte { return b[:len(b)-guest.PageSize] })
		}, layer.ErrTruncated, ".layer"},
	} {
		for _, verify := range []pages.Verify{pages.VerifyEager, pages.VerifyLazy, pages.VerifyDemand} {
			t.Run(fmt.Sprint(name, verify), func(t *testing.T) {
				dir := t.TempDir()
				s := openStore(t, dir)
				h := testLayer(t, s, 1)
				n, _ := layeredImage(t, s, "one", h)
				path := layerStore(s).Path(h.Digest)
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				c.change(t, path)
				s = openStoreAs(t, dir, Options{Verify: verify})
				got, err := s.Load(n.ID)
				if err == nil {
					err = got.View().Check(0, got.View().Pages())
				}
				if !errors.Is(err, c.want) || c.want != nil && !strings.Contains(err.Error(), c.text) {
					t.Errorf("%v, want %v", err, c.want)
				}
				if err := s.Inspect().Verify(n.ID); err == nil {
					t.Error("verified")
				}
			})
		}
	}
}

// flip changes a bit of a file, counted from its end below 0.
func flip(at int) func(*testing.T, string) {
	return func(t *testing.T, path string) {
		sealedtest.Damage(t, path, func(b []byte) []byte {
			b = bytes.Clone(b)
			b[(at+len(b))%len(b)] ^= 0x10
			return b
		})
	}
}

// TestLayersTravel: an image goes to another store as a stream of its files, of which it
// takes what it does not have; no stream that is not exactly so is taken.
func TestLayersTravel(t *testing.T) {
	from := openStore(t, t.TempDir())
	base, upper := testLayer(t, from, 1), testLayer(t, from, 2)
	n, _ := layeredImage(t, from, "one", base, upper)
	paths, err := from.Transfer().ImageFiles(n.ImageDigest)
	if err != nil || len(paths) != 3 {
		t.Fatalf("%v, %v", paths, err)
	}
	if count, err := from.Transfer().LayerPages(n); err != nil || count != 40+40+2 { // two are at fixed addresses as well
		t.Errorf("guests see %d pages of layers, %v", count, err)
	}
	var stream bytes.Buffer
	if err := imagefile.WriteStream(&stream, paths); err != nil {
		t.Fatal(err)
	}
	size, err := imagefile.StreamBytes(paths)
	if err != nil || size != int64(stream.Len()) {
		t.Fatalf("%d bytes, %v, the stream has %d", size, err, stream.Len())
	}
	adopt := func(s *Store, b []byte, size int64) error {
		return s.Transfer().AdoptImage(n.ImageDigest, bytes.NewReader(b), size, func(path string) error {
			got, err := os.ReadFile(path)
			if err == nil && fmt.Sprintf("%x", sha256.Sum256(got)) != n.ImageDigest {
				err = nodefile.ErrIdentity
			}
			return err
		})
	}
	to := openStore(t, t.TempDir())
	testLayer(t, to, 1) // it has the base
	if err := adopt(to, stream.Bytes(), size); err != nil {
		t.Fatal(err)
	}
	if len(mustList(t, to)) != 2 {
		t.Errorf("layers %+v", mustList(t, to))
	}
	for _, h := range []*layer.Header{base, upper} {
		l, err := layerStore(to).Open(h.Digest)
		if err == nil {
			err = errors.Join(l.Verify(t.Context()), l.Close())
		}
		if err != nil {
			t.Error(err)
		}
	}
	good := stream.Bytes()
	own := 2 * guest.PageSize
	for name, b := range map[string][]byte{
		"nothing":        nil,
		"header":         good[:100],
		"own file":       good[:own-1],
		"own file alone": good[:own],
		"first layer":    good[:own+5000],
		"one layer":      good[:own+int(size-int64(own))/2],
		"last byte":      good[:len(good)-1],
		"more":           append(bytes.Clone(good), make([]byte, guest.PageSize)...),
		"flipped":        flipped(good, own+9*guest.PageSize),
		"flipped last":   flipped(good, len(good)-5000),
		"other layer":    flipped(good, 512+16),
		"huge own":       flipped(good, guest.ImageHeaderOwnBytes+3),
		"large layer":    flipped(good, own+16+4),
	} {
		for _, says := range []int64{size, int64(len(b))} {
			s := openStore(t, t.TempDir())
			if err := adopt(s, b, says); err == nil {
				t.Errorf("%s, as %d bytes: adopted", name, says)
			}
			if _, err := os.Stat(s.ImagePath(n.ImageDigest)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: the image is there: %v", name, err)
			}
			for _, l := range mustList(t, s) { // what came whole is right
				open, err := layerStore(s).Open(l.Digest)
				if err == nil {
					err = errors.Join(open.Verify(t.Context()), open.Close())
				}
				if err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
	}
	// No more is written than is said to come.
	s := openStore(t, t.TempDir())
	endless := io.MultiReader(bytes.NewReader(good[:own]), zeros{})
	if err := s.Transfer().AdoptImage(n.ImageDigest, endless, size, func(string) error { return nil }); err == nil {
		t.Error("an endless stream is adopted")
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func flipped(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at] ^= 1
	return b
}
