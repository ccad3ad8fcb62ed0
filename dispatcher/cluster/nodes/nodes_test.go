package nodes

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"seuss/dirtytrack"
	"seuss/dispatcher/cluster/held"
	"seuss/dispatcher/cluster/peers"
	"seuss/dispatcher/cluster/trust"
	"seuss/lineage"
)

const guestPages = 1200

// host is a member with a store.
type host struct {
	*testing.T
	store   *lineage.Store
	peers   *peers.Peers
	x       *Exchange
	holders []string
	address map[string]string
	dir     string
	free    uint64
	lacks   error
	chain   []*lineage.Node // that it gives, whatever is asked for
}

func (h *host) Store() *lineage.Store { return h.store }

func (h *host) Holding(w *Want) ([]*lineage.Node, error) {
	if h.chain == nil {
		return nil, fmt.Errorf("function %q: %w", w.Deployment, lineage.ErrNotFound)
	}
	return h.chain, nil
}

func (h *host) Fits(i *lineage.Info) error {
	if i.Kind == lineage.KindImage {
		return nil
	}
	return h.lacks
}

func (h *host) TakeNodes(ctx context.Context, p *Parcel) error {
	if p.Image != "" {
		f, err := os.Open(p.Image)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := h.store.Transfer().AdoptImage(p.Digest, f, p.ImageSize, func(path string) error {
			b, err := os.ReadFile(path)
			if err == nil && fmt.Sprintf("%x", sha256.Sum256(b)) != p.Digest {
				err = errors.New("another image")
			}
			return err
		}); err != nil {
			return err
		}
	}
	for _, piece := range p.Nodes {
		f, err := os.Open(piece.Path)
		if err != nil {
			return err
		}
		_, err = h.store.Transfer().Adopt(f, piece.Size, func(got *lineage.Info) error {
			if got.ID != piece.Info.ID {
				return lineage.ErrIdentity
			}
			return nil
		})
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// pair makes a member that has nothing, and one that it asks.
func pair(t *testing.T) (a, b *host) {
	t.Helper()
	authority, err := trust.NewAuthority("shop", trust.NewSecret())
	if err != nil {
		t.Fatal(err)
	}
	address := map[string]string{}
	make := func(name string) *host {
		h := &host{T: t, dir: t.TempDir(), address: address, free: 1 << 40}
		own, err := authority.Member(name)
		if err != nil {
			t.Fatal(err)
		}
		log := slog.New(slog.DiscardHandler)
		if h.store, err = lineage.Open(h.dir, lineage.Options{}); err != nil {
			t.Fatal(err)
		}
		of := func(member string) (string, error) { return address[member], nil }
		if h.peers, err = peers.Listen(peers.Options{Member: name, Listen: "127.0.0.1:0", TLS: own, Address: of, Log: log}); err != nil {
			t.Fatal(err)
		}
		h.x = New(Options{Service: h, Peers: h.peers, Spool: filepath.Join(h.dir, "spool"), Log: log,
			Holders: func(held.Key) []string { return h.holders },
			Free:    func(string) (uint64, uint64, error) { return h.free, 1 << 40, nil }})
		go h.peers.Serve()
		address[name] = fmt.Sprintf("127.0.0.1:%d", h.peers.Port())
		t.Cleanup(func() {
			h.peers.Close()
			if err := h.store.Close(); err != nil {
				t.Error(err)
			}
		})
		return h
	}
	a, b = make("a"), make("b")
	a.holders = []string{"b"}
	return a, b
}

// tree makes image, base and two functions.
func (h *host) tree() (want *Want) {
	h.Helper()
	data := make([]byte, 40*lineage.PageSize)
	for i := range data {
		data[i] = byte(i / 7)
	}
	digest := fmt.Sprintf("%x", sha256.Sum256(data))
	path := h.store.ImagePath(digest)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		h.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o400); err != nil {
		h.Fatal(err)
	}
	image, err := h.store.AddImage(digest, path, guestPages, []lineage.ImageRun{{First: 32, Count: 10, FilePage: 1}})
	if err != nil {
		h.Fatal(err)
	}
	capture := func(spec lineage.NodeSpec, parent *lineage.Node, first uint64, pages uint64) *lineage.Node {
		dirty := dirtytrack.NewPageSet(guestPages)
		for p := range pages {
			dirty.Add(first + p)
		}
		spec.State = []byte("state")
		n, err := h.store.Capture(spec, parent, dirty, func(page uint64) []byte {
			b := make([]byte, lineage.PageSize)
			for i := range b {
				b[i] = byte(i*int(page) + i>>8*len(spec.Key.Function))
			}
			return b
		})
		if err != nil {
			h.Fatal(err)
		}
		return n
	}
	base := capture(lineage.NodeSpec{Kind: lineage.KindBase}, image, 100, 800)
	code := fmt.Sprintf("%064d", 7)
	f := capture(lineage.NodeSpec{Kind: lineage.KindFunction, Key: lineage.Key{Function: "f", Handler: "h", CodeDigest: code}}, base, 50, 20)
	h.chain = []*lineage.Node{image, base, f}
	return &Want{Deployment: "f", Code: code, Handler: "h"}
}

// same fails unless the nodes of both are the same, and whole.
func same(a, b *host) {
	a.Helper()
	for _, n := range b.chain {
		if err := a.store.Inspect().Verify(n.ID); err != nil {
			a.Errorf("node %.12s (%s): %v", n.ID, n.Kind, err)
		}
	}
}

func (h *host) empty(what string) {
	h.Helper()
	left, err := filepath.Glob(filepath.Join(h.dir, "*", "*"))
	for _, path := range left {
		if !strings.Contains(path, "/images/layers") && !strings.HasSuffix(path, "lock") {
			h.Errorf("%s: %s is left", what, path)
		}
	}
	if n := len(h.store.List()); n != 0 || err != nil {
		h.Errorf("%s: %d nodes, %v", what, n, err)
	}
}

// TestFetch: all that a function starts from comes, the image too; what is there is not fetched
// again, and nobody is asked where nobody says that he has it.
func TestFetch(t *testing.T) {
	a, b := pair(t)
	w := b.tree()
	if err := a.x.Fetch(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	same(a, b)
	for b.x.Counts.Given.Load() < 4 { // three nodes and the image: whoever has got it may be faster
		time.Sleep(time.Millisecond)
	}
	before := a.x.Counts.FetchedBytes.Load()
	if given := b.x.Counts.GivenBytes.Load(); before == 0 || given != before || a.x.Counts.Fetched.Load() != 3 {
		t.Errorf("%d bytes and %d nodes came, %d bytes were given", before, a.x.Counts.Fetched.Load(), given)
	}
	if err := a.x.Fetch(t.Context(), w); err != nil || a.x.Counts.FetchedBytes.Load() != before {
		t.Errorf("%d bytes came again: %v", a.x.Counts.FetchedBytes.Load()-before, err)
	}
	a.holders = nil
	if err := a.x.Fetch(t.Context(), w); !errors.Is(err, ErrNobody) || a.x.Anybody(w) {
		t.Error(err)
	}
	if left, _ := filepath.Glob(filepath.Join(a.dir, "spool", "*")); len(left) != 0 {
		t.Errorf("left in the spool: %v", left)
	}
}

// TestWhatDoesNotFitIsRefused: another processor, another image, other code, other handlers, no
// room, too much at a time, a context that ends: by name, and the store is as before.
func TestWhatDoesNotFitIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(a, b *host, w *Want)
		want  error
	}{
		"processor": {func(a, _ *host, _ *Want) { a.lacks = errors.New("this host lacks avx512f") }, ErrOther},
		"image":     {func(_, _ *host, w *Want) { w.Image = fmt.Sprintf("%064d", 1) }, ErrOther},
		"code":      {func(_, _ *host, w *Want) { w.Code = fmt.Sprintf("%064d", 8) }, ErrOther},
		"handler":   {func(_, _ *host, w *Want) { w.Handler = "other" }, ErrOther},
		"function":  {func(_, _ *host, w *Want) { w.Deployment = "g" }, ErrOther},
		"not whole": {func(_, b *host, _ *Want) { b.chain = b.chain[:2] }, ErrOther},
		"no image":  {func(_, b *host, _ *Want) { b.chain = b.chain[1:] }, ErrOther},
		"no room":   {func(a, _ *host, _ *Want) { a.free = 1 << 20 }, ErrRoom},
		"busy":      {func(a, _ *host, _ *Want) { a.x.fetching.TryAcquire(maxFetching) }, ErrBusy},
		"slow": {func(a, b *host, w *Want) {
			w.Image = b.chain[0].ImageDigest
			a.x.rate.Store(1)
		}, ErrSlow},
	} {
		a, b := pair(t)
		w := b.tree()
		c.spoil(a, b, w)
		if err := a.x.Fetch(t.Context(), w); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		a.empty(name)
	}
	a, b := pair(t)
	w := b.tree()
	b.chain = nil
	var refused *peers.Refusal
	if err := a.x.Fetch(t.Context(), w); !errors.As(err, &refused) {
		t.Error(err)
	}
	b.x.giving.TryAcquire(maxGiving)
	w = b.tree2(w)
	if err := a.x.Fetch(t.Context(), w); err == nil || !strings.Contains(err.Error(), ErrBusy.Error()) {
		t.Error(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.x.Fetch(ended, w); err == nil {
		t.Error("fetched for nobody")
	}
	a.empty("refused")
}

// tree2 has the tree be given again.
func (h *host) tree2(w *Want) *Want {
	list := h.store.Function("f")
	chain, err := h.store.Lineage(list[0])
	if err != nil {
		h.Fatal(err)
	}
	h.chain = chain
	return w
}

// TestDamage: of each file, with any byte changed, nothing stays but whole nodes above.
func TestDamage(t *testing.T) {
	for _, which := range []int{-1, 1, 2} {
		for _, part := range []int64{2, 3, 5, 11} {
			a, b := pair(t)
			w := b.tree()
			path := b.store.ImagePath(b.chain[0].ImageDigest)
			if which >= 0 {
				path = filepath.Join(b.dir, "nodes", b.chain[which].ID+".node")
			}
			if err := os.Chmod(path, 0o600); err != nil {
				t.Fatal(err)
			}
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			st, _ := f.Stat()
			at, one := st.Size()/part, []byte{0}
			if _, err := f.ReadAt(one, at); err != nil {
				t.Fatal(err)
			}
			one[0] ^= 0x40
			if _, err := f.WriteAt(one, at); err != nil {
				t.Fatal(err)
			}
			f.Close()
			if err := a.x.Fetch(t.Context(), w); err == nil {
				t.Errorf("file %d with byte %d changed is taken", which, at)
			}
			for _, n := range a.store.List() {
				if err := a.store.Inspect().Verify(n.ID); err != nil {
					t.Errorf("file %d: node %s: %v", which, n.Kind, err)
				}
			}
			if n := len(a.store.List()); n > max(which, 0) {
				t.Errorf("file %d: %d nodes stay", which, n)
			}
		}
	}
}

// TestCut: what ends early is fetched on from there; where it ends each time it is an error.
func TestCut(t *testing.T) {
	for _, often := range []int32{1, 1000} {
		a, b := pair(t)
		w := b.tree()
		var cuts atomic.Int32
		cut(a, "b", func() bool { return cuts.Add(1) <= often })
		err := a.x.Fetch(t.Context(), w)
		if often == 1 {
			if err != nil {
				t.Error(err)
			}
			same(a, b)
		} else if err == nil {
			t.Error("fetched over connections that end")
		} else {
			a.empty("cut")
		}
	}
}

// cut has the way to a member lead over a proxy, which ends a connection after 128 KiB where
// f says so.
func cut(h *host, member string, f func() bool) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { l.Close() })
	to := h.address[member]
	h.address[member] = l.Addr().String()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				out, err := net.DialTimeout("tcp", to, time.Second)
				if err != nil {
					return
				}
				defer out.Close()
				go func() { _, _ = io.Copy(out, c) }()
				if f() {
					_, _ = io.CopyN(c, out, 1<<17)
					return
				}
				_, _ = io.Copy(c, out)
			}()
		}
	}()
}
