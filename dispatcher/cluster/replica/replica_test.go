package replica

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"seuss/dispatcher/cluster/peers"
	"seuss/dispatcher/cluster/trust"
	"seuss/dispatcher/functions"
	"seuss/lineage"
)

// shop is a cluster of members in this process.
type shop struct {
	*testing.T
	authority *trust.Authority
	mu        sync.Mutex
	addresses map[string]string
	apart     map[string]bool // members that see nobody, and nobody sees
}

func newShop(t *testing.T) *shop {
	a, err := trust.NewAuthority("shop", trust.NewSecret())
	if err != nil {
		t.Fatal(err)
	}
	return &shop{T: t, authority: a, addresses: map[string]string{}, apart: map[string]bool{}}
}

// host is one of them.
type host struct {
	*shop
	name  string
	dir   string
	store *functions.Store
	peers *peers.Peers
	r     *Replica
	lock  func(context.Context, string) (func(), error)
}

func (h *host) Share(member string, lock func(context.Context, string) (func(), error), changed func(string)) {
	h.store.Share(member, changed)
	h.lock = lock
}

func (h *host) Records() functions.Shared { return functions.Shared{Store: h.store} }

func (h *host) Take(_ context.Context, c *functions.Change, code []byte) error {
	_, err := h.Records().Take(c, code)
	return err
}

func (s *shop) setApart(on bool, names ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range names {
		s.apart[name] = on
	}
}

func (s *shop) here(of string) (list []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range s.addresses {
		if name != of && !s.apart[name] && !s.apart[of] {
			list = append(list, name)
		}
	}
	return list
}

// begin starts a host that has not joined yet.
func (s *shop) begin(name, dir string) *host {
	s.Helper()
	h := &host{shop: s, name: name, dir: dir}
	tls, err := s.authority.Member(name)
	if err != nil {
		s.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	address := func(of string) (string, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.addresses[of] == "" || s.apart[of] || s.apart[name] {
			return "", errors.New("gone")
		}
		return s.addresses[of], nil
	}
	if h.store, err = functions.Open(dir, functions.Options{}); err != nil {
		s.Fatal(err)
	}
	if h.peers, err = peers.Listen(peers.Options{Member: name, Listen: "127.0.0.1:0", TLS: tls, Address: address, Log: log}); err != nil {
		s.Fatal(err)
	}
	if h.r, err = New(Options{Member: name, Service: h, Peers: h.peers, Here: func() []string { return s.here(name) }, Patience: 300 * time.Millisecond, Log: log}); err != nil {
		s.Fatal(err)
	}
	go h.peers.Serve()
	return h
}

func (h *host) join() *host {
	h.Helper()
	if err := h.r.Join(h.Context()); err != nil {
		h.Fatal(err)
	}
	h.mu.Lock()
	h.addresses[h.name] = fmt.Sprintf("127.0.0.1:%d", h.peers.Port())
	h.mu.Unlock()
	h.Cleanup(h.leave)
	return h
}

func (h *host) leave() {
	h.mu.Lock()
	delete(h.addresses, h.name)
	h.mu.Unlock()
	h.r.Close()
	h.peers.Close()
	h.store.Close()
}

func (h *host) deploy(key, code string) {
	h.Helper()
	unlock, err := h.lock(h.Context(), functions.BaseName(key))
	if err != nil {
		h.Fatal(err)
	}
	defer unlock()
	if _, err := h.store.Put(functions.Function{Name: key, Handler: "h"}, []byte(code)); err != nil {
		h.Fatal(err)
	}
}

// has is the code of a deployment, "" if there is none.
func (h *host) has(key string) string {
	h.Helper()
	f, err := h.store.Get(key)
	if errors.Is(err, lineage.ErrNotFound) {
		return ""
	}
	if err != nil {
		h.Fatal(err)
	}
	code, err := h.store.Code(f)
	if err != nil {
		h.Fatal(err)
	}
	return string(code)
}

// alike waits until all have the same, as their beats would have them.
func alike(hosts ...*host) {
	t := hosts[0]
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		same := true
		for _, to := range hosts {
			for _, from := range hosts {
				to.r.Hear(from.name, from.r.Sum())
				same = same && to.r.Sum() == from.r.Sum()
			}
		}
		if same {
			return
		}
		if time.Now().After(end) {
			t.Fatal("they never have the same")
		}
	}
}

// TestDeployedOnOneIsOnAll: what one member deploys or removes the others have when it is done,
// code included; one that was away catches up, and what was removed does not come back.
func TestDeployedOnOneIsOnAll(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	a, b, c := s.begin("a", t.TempDir()).join(), s.begin("b", t.TempDir()).join(), s.begin("c", t.TempDir()).join()
	a.deploy("hello", "one")
	b.deploy("hello:1", "one")
	c.deploy("someone/hello", "two")
	for _, h := range []*host{a, b, c} {
		if h.has("hello") != "one" || h.has("hello:1") != "one" || h.has("someone/hello") != "two" || h.r.Count() != 3 {
			t.Errorf("%s: %q, %q, %q", h.name, h.has("hello"), h.has("hello:1"), h.has("someone/hello"))
		}
	}
	c.leave()
	b.deploy("hello", "three")
	unlock, err := a.lock(t.Context(), "someone/hello")
	if err != nil {
		t.Fatal(err)
	}
	if err := a.store.Remove("someone/hello"); err != nil {
		t.Fatal(err)
	}
	unlock()
	c = s.begin("c", c.dir).join()
	if c.has("hello") != "three" || c.has("someone/hello") != "" || b.has("someone/hello") != "" {
		t.Errorf("c has come back to %q, %q", c.has("hello"), c.has("someone/hello"))
	}
	alike(a, b, c)
	for _, h := range []*host{a, b, c} {
		if len(h.r.Conflicts()) != 0 {
			t.Errorf("%s: %+v", h.name, h.r.Conflicts())
		}
	}
}

// TestOneAfterTheOther: members that change one function at once do it one after the other,
// each with what the one before has made of it, also when the member that keeps the lock ends.
func TestOneAfterTheOther(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	hosts := []*host{s.begin("a", t.TempDir()).join(), s.begin("b", t.TempDir()).join(), s.begin("c", t.TempDir()).join()}
	var inside, done atomic.Int64
	var all sync.WaitGroup
	const each = 10
	for _, h := range hosts {
		all.Go(func() {
			for range each {
				unlock, err := h.lock(t.Context(), "count")
				if err != nil {
					t.Error(err)
					return
				}
				if inside.Add(1) != 1 {
					t.Error("two are at it")
				}
				before := h.has("count")
				if int64(len(before)) != done.Load() {
					t.Errorf("%s sees %d of %d changes", h.name, len(before), done.Load())
				}
				if _, err := h.store.Put(functions.Function{Name: "count", Handler: "h"}, []byte(before+"x")); err != nil {
					t.Error(err)
				}
				done.Add(1)
				inside.Add(-1)
				unlock()
			}
		})
	}
	all.Wait()
	for _, h := range hosts {
		if len(h.has("count")) != 3*each {
			t.Errorf("%s has %d", h.name, len(h.has("count")))
		}
	}
	// Who waits goes with his context; a keeper that is gone is named, and then replaced.
	keeper := hosts[0].r.keeper("count")
	var other *host
	for _, h := range hosts {
		if h.name != keeper {
			other = h
		}
	}
	unlock, err := other.lock(t.Context(), "count")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := other.lock(ctx, "count"); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	unlock()
	for _, h := range hosts {
		if h.name == keeper {
			h.peers.Close() // as one that is killed, and is still thought to be here
		}
	}
	if _, err := other.lock(t.Context(), "count"); !errors.Is(err, ErrKeeper) {
		t.Error(err)
	}
	s.mu.Lock()
	delete(s.addresses, keeper)
	s.mu.Unlock()
	other.deploy("count", "again")
}

// TestTheLastChangeIsGone: a change that was told of keeps others from changing the function as
// long as who made it is here, and not for ever if he ends before anybody has it.
func TestTheLastChangeIsGone(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	hosts := map[string]*host{"a": s.begin("a", t.TempDir()).join(), "b": s.begin("b", t.TempDir()).join()}
	hosts["a"].deploy("hello", "one")
	keeper := hosts[hosts["a"].r.keeper("hello")]
	other := hosts[map[string]string{"a": "b", "b": "a"}[keeper.name]]
	told := func(by string) {
		keeper.r.mu.Lock()
		defer keeper.r.mu.Unlock()
		keeper.r.heard["hello"] = functions.Mark{Count: 2, By: by}
	}
	told(other.name)
	if _, err := keeper.lock(t.Context(), "hello"); !errors.Is(err, ErrBehind) {
		t.Error(err)
	}
	told("gone")
	other.deploy("hello", "two")
	keeper.deploy("hello", "three")
	alike(keeper, other)
	keeper.r.mu.Lock()
	defer keeper.r.mu.Unlock()
	if len(keeper.r.heard) != 0 || keeper.has("hello") != "three" || other.has("hello") != "three" {
		t.Errorf("heard %v, have %q, %q", keeper.r.heard, keeper.has("hello"), other.has("hello"))
	}
}

// TestApart: two sides that do not see each other both go on; when they do, all have the
// change that is the later one, and the other one is named.
func TestApart(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	a, b, c := s.begin("a", t.TempDir()).join(), s.begin("b", t.TempDir()).join(), s.begin("c", t.TempDir()).join()
	a.deploy("hello", "one")
	a.deploy("gone", "x")
	s.setApart(true, "c")
	a.deploy("hello", "a's")
	c.deploy("hello", "c's")
	c.deploy("hello", "c's second")
	c.deploy("new", "y")
	unlock, err := b.lock(t.Context(), "gone")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.store.Remove("gone"); err != nil {
		t.Fatal(err)
	}
	unlock()
	s.setApart(false, "c")
	alike(a, b, c)
	lost := 0
	for _, h := range []*host{a, b, c} {
		if h.has("hello") != "c's second" || h.has("gone") != "" || h.has("new") != "y" {
			t.Errorf("%s: %q, %q, %q", h.name, h.has("hello"), h.has("gone"), h.has("new"))
		}
		for _, l := range h.r.Conflicts() {
			if lost++; l.Deployment != "hello" || l.Lost != "a" || l.Holds != "c" {
				t.Errorf("%+v", l)
			}
		}
	}
	if lost == 0 {
		t.Error("nobody says that a's change is lost")
	}
}

// TestChangedInNoCluster: two members that were started in no cluster meanwhile, and have changed
// the same function there, have the same change when they are back, and one says which is lost.
func TestChangedInNoCluster(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	a, b := s.begin("a", t.TempDir()).join(), s.begin("b", t.TempDir()).join()
	a.deploy("hello", "one")
	for _, h := range []*host{a, b} {
		h.leave()
		alone, err := functions.Open(h.dir, functions.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := alone.Put(functions.Function{Name: "hello", Handler: "h"}, []byte(h.name)); err != nil {
			t.Fatal(err)
		}
		alone.Close()
	}
	a = s.begin("a", a.dir).join()
	b = s.begin("b", b.dir).join()
	alike(a, b)
	if a.has("hello") != b.has("hello") {
		t.Errorf("a has %q, b %q", a.has("hello"), b.has("hello"))
	}
	lost := append(a.r.Conflicts(), b.r.Conflicts()...)
	if len(lost) != 1 || lost[0].Deployment != "hello" || lost[0].Lost != functions.Offline || lost[0].Holds != functions.Offline {
		t.Errorf("%+v", lost)
	}
}

// TestOwnDeployments: a daemon that had some before it becomes a member brings them; what the
// cluster has otherwise keeps it from starting, by name, and nothing changes.
func TestOwnDeployments(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	dir := t.TempDir()
	own, err := functions.Open(dir, functions.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for key, code := range map[string]string{"same": "1", "other": "2", "mine": "3", "removed": "4"} {
		if _, err := own.Put(functions.Function{Name: key, Handler: "h"}, []byte(code)); err != nil {
			t.Fatal(err)
		}
	}
	own.Close()
	a := s.begin("a", t.TempDir()).join()
	a.deploy("same", "1")
	a.deploy("other", "not 2")
	a.deploy("removed", "4")
	unlock, err := a.lock(t.Context(), "removed")
	if err != nil {
		t.Fatal(err)
	}
	if err := a.store.Remove("removed"); err != nil {
		t.Fatal(err)
	}
	unlock()
	b := s.begin("b", dir)
	if err := b.r.Join(t.Context()); !errors.Is(err, ErrConflict) || !strings.Contains(err.Error(), `["other"]`) || strings.Contains(err.Error(), "same") {
		t.Error(err)
	}
	if b.has("other") != "2" || a.has("mine") != "" {
		t.Error("a conflict has changed something")
	}
	b.leave()
	if own, err = functions.Open(dir, functions.Options{}); err != nil {
		t.Fatal(err)
	}
	if err := own.Remove("other"); err != nil {
		t.Fatal(err)
	}
	own.Close()
	b = s.begin("b", dir).join()
	alike(a, b)
	if a.has("mine") != "3" || b.has("other") != "not 2" || a.has("removed") != "4" {
		t.Errorf("a has %q, b %q", a.has("mine"), b.has("other"))
	}
}

// TestNobodyElseIsAnswered: who has no certificate of the cluster's, or another secret, gets
// neither code nor locks; what a member asks for that cannot be is refused by name.
func TestNobodyElseIsAnswered(t *testing.T) {
	t.Parallel()
	s, strangers := newShop(t), newShop(t)
	a := s.begin("a", t.TempDir()).join()
	a.deploy("hello", "secret")
	strangers.addresses["a"] = s.addresses["a"]
	x := strangers.begin("x", t.TempDir())
	defer x.leave()
	if _, err := x.r.fetch(t.Context(), "a", "/v1/sums", 1<<20); !errors.Is(err, peers.ErrUnreachable) {
		t.Error(err)
	}
	s.mu.Lock()
	s.addresses["b"] = s.addresses["a"] // another one is there than is wanted
	s.mu.Unlock()
	c := s.begin("c", t.TempDir())
	defer c.leave()
	if _, err := c.r.fetch(t.Context(), "b", "/v1/sums", 1<<20); err == nil || !strings.Contains(err.Error(), `member "a", not "b"`) {
		t.Error(err)
	}
	for path, want := range map[string]string{
		"/v1/bucket/256": "not 0 to 255", "/v1/bucket/x": "not 0 to 255", "/v1/function?name=../x": "no function",
		"/v1/code/" + strings.Repeat("0", 64) + "?owner=default": "no such file", "/v1/code/../../x?owner=default": "",
		"/v1/code/x?owner=default": "invalid", "/v1/code/x?owner=..": "no owner",
	} {
		if b, err := c.r.fetch(t.Context(), "a", path, 1<<20); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q, %v", path, b, err)
		}
	}
	for body, want := range map[string]string{"{": "changes", `[{"key": "../x"}]`: "no deployment", `[{"key": "x", "stamp": {"n": 1, "by": "c", "seen": {"c": 1}}}]`: "neither deployed nor removed"} {
		answer, err := c.peers.Do(t.Context(), "a", http.MethodPost, "/v1/changes", nil, strings.NewReader(body))
		if err == nil {
			io.Copy(io.Discard, answer.Body)
			answer.Body.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", body, err)
		}
	}
}
