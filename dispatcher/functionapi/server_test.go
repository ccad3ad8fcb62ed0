package functionapi

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"seuss/dispatcher/chain"
	"seuss/dispatcher/state"
	"seuss/vmm/vsock"
)

// fakeStream is a guest's stream, of which the test is the guest. It reads nothing by itself.
type fakeStream struct {
	mu    sync.Mutex
	in    []byte
	out   []byte
	read  int // of out
	ended bool
	err   error
}

func (f *fakeStream) Take() []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.in
	f.in = nil
	return p
}

func (f *fakeStream) Send(p []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.out = append(f.out, p...)
	}
	return f.err
}

func (f *fakeStream) Buffered() (in, out int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.in), len(f.out) - f.read
}

func (f *fakeStream) Ended() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ended || f.err != nil
}

func (f *fakeStream) Err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

func (f *fakeStream) Close() { f.end(vsock.ErrClosed) }
func (f *fakeStream) Reset() { f.end(vsock.ErrReset) }

func (f *fakeStream) end(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

// client is one connection of an instance.
type client struct {
	t *testing.T
	*fakeStream
	k *conn
}

func connect(t *testing.T, s *Server) *client {
	t.Helper()
	f := &fakeStream{}
	k, err := s.accept(f)
	if err != nil {
		t.Fatal(err)
	}
	return &client{t, f, k}
}

// sends is one arrival of bytes.
func (g *client) sends(text string) {
	g.mu.Lock()
	g.in = append(g.in, text...)
	g.mu.Unlock()
	g.k.arrived()
}

// leaves ends the stream, as a reset does.
func (g *client) leaves() {
	g.end(vsock.ErrReset)
	g.k.arrived()
}

// answers reads what has come, and wants so many answers, each with a status and a body that
// begins so.
func (g *client) answers(want ...string) {
	g.t.Helper()
	var got []string
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		g.mu.Lock()
		text := bytes.Clone(g.out[g.read:])
		g.mu.Unlock()
		got = nil
		r := bufio.NewReader(bytes.NewReader(text))
		for {
			answer, err := http.ReadResponse(r, nil)
			if err != nil {
				break
			}
			body, err := io.ReadAll(answer.Body)
			if err != nil {
				break
			}
			got = append(got, fmt.Sprint(answer.StatusCode, " ", string(body[:min(len(body), 200)])))
		}
		if len(got) >= len(want) {
			g.mu.Lock()
			g.read += len(text)
			g.mu.Unlock()
			break
		}
		if time.Now().After(end) {
			break
		}
	}
	if len(got) != len(want) {
		g.t.Fatalf("answers %q, want %q", got, want)
	}
	for n := range want {
		if !strings.HasPrefix(got[n], want[n]) {
			g.t.Errorf("answer %d: %q, want %q", n, got[n], want[n])
		}
	}
}

// silent wants that nothing has come.
func (g *client) silent() {
	g.t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.out) > g.read {
		g.t.Errorf("%.200q has come", g.out[g.read:])
	}
}

func instance(t testing.TB, store *state.Store, rights ...string) *Server {
	r, err := state.ParseRights(rights)
	if err != nil {
		t.Fatal(err)
	}
	s := New(func() (*state.Session, error) {
		return store.Open(state.Who{Owner: "ada", Function: "f", Request: "r", Rights: r})
	}, nil, func() (*chain.Caller, error) { return nil, chain.ErrClosed })
	t.Cleanup(s.Close)
	return s
}

func request(method, target, body string) string {
	return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", method, target, len(body), body)
}

// waits returns when so many wait, and so many locks are held.
func waits(t *testing.T, store *state.Store, waiting, held int) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		st := store.Stats("ada")
		if st.Waiting == waiting && st.Held == held {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d wait and %d locks are held, want %d and %d", st.Waiting, st.Held, waiting, held)
		}
	}
}

// TestPipelined: requests that come one behind the other, however they are cut, are answered in
// their order, those behind one that waits after it.
func TestPipelined(t *testing.T) {
	store := state.New(state.Options{})
	defer store.Close()
	text := request("PUT", "/v1/state/a/k", "one") + request("POST", "/v1/state/a/k", "two") + request("GET", "/v1/state/a/k", "")
	for _, step := range []int{1, 7, len(text)} {
		g := connect(t, instance(t, store, "a:rw"))
		for at := 0; at < len(text); at += step {
			g.sends(text[at:min(at+step, len(text))])
		}
		g.answers("200", "200", "200 onetwo")
	}
	s := instance(t, store, "a:rw")
	g, other := connect(t, s), connect(t, s)
	g.sends(request("GET", "/v1/state/a/new?known=0&wait_ms=60000", "") + request("GET", "/v1/state/a/new", ""))
	waits(t, store, 1, 0)
	g.silent()
	other.sends(request("PUT", "/v1/state/a/new", "here"))
	other.answers("200")
	g.answers("200", "200 here")
	g.sends(request("GET", "/v1/state/a/none?known=0&wait_ms=0", "") + request("GET", "/v1/state/a/none?appended=0&wait_ms=0", ""))
	g.answers(`408 {"error":"Timeout"`, `408 {"error":"Timeout"`)
	g.sends(strings.Replace(request("PUT", "/v1/state/a/new", "last"), "Host", "Connection: close\r\nHost", 1) + request("POST", "/v1/state/a/new", "behind"))
	g.answers("200")
	other.sends(request("GET", "/v1/state/a/new", ""))
	other.answers("200 last")
	if len(s.conns) != 1 || s.held != 0 {
		t.Errorf("%d connections, %d bytes are held", len(s.conns), s.held)
	}
}

// TestForgedHeads: what is no request is answered by name, and nothing behind it is done.
func TestForgedHeads(t *testing.T) {
	store := state.New(state.Options{})
	defer store.Close()
	for name, c := range map[string]struct{ text, want string }{
		"no HTTP":          {"\x16\x03\x01\r\n\r\n", `400 {"error":"Invalid"`},
		"two lengths":      {"PUT /v1/state/a/k HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", `400 {"error":"Invalid"`},
		"negative":         {"PUT /v1/state/a/k HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\nx", `400 {"error":"Invalid"`},
		"too long":         {fmt.Sprintf("PUT /v1/state/a/k HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n", MaxBody+1), `413 {"error":"TooLarge"`},
		"no end of a head": {"GET / HTTP/1.1\r\nA: " + strings.Repeat("x", 64<<10), `400 {"error":"Invalid"`},
		"a forged chunk":   {"PUT /v1/state/a/k HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffff\r\n", `400 {"error":"Invalid"`},
	} {
		s := instance(t, store, "a:rw")
		g := connect(t, s)
		g.sends(c.text)
		g.sends(request("PUT", "/v1/state/a/k", "smuggled"))
		g.answers(c.want)
		if st := store.Stats("ada"); st.Keys != 0 || s.held != 0 {
			t.Errorf("%s: %d keys, %d bytes are held", name, st.Keys, s.held)
		}
	}
	for text, want := range map[string]string{
		request("GET", "/v1/state/a/k?offset=-1", ""):          `400 {"error":"Invalid"`,
		request("GET", "/v1/state/a/k?offset=1%zz", ""):        `400 {"error":"Invalid"`,
		request("PUT", "/v1/state/a/k?version=x", ""):          `400 {"error":"Invalid"`,
		request("POST", "/v1/locks/a/k?lease_ms=1", ""):        `400 {"error":"Invalid"`,
		request("POST", "/v1/locks/a/k?wait_ms=999999999", ""): `400 {"error":"Invalid"`,
		request("PATCH", "/v1/state/a/k", ""):                  `405 {"error":"Invalid"`,
		request("GET", "/v2", ""):                              `404 {"error":"Invalid"`,
		request("GET", "/v1/state/b/k", ""):                    `403 {"error":"Forbidden"`,
		request("POST", "/v1/push/a/k", ""):                    `503 {"error":"Unavailable"`,
		request("POST", "/v1/push/a/k?region", ""):             `400 {"error":"Invalid","message":"there are no regions here`,
		request("POST", "/v1/pull/a/k?region", ""):             `400 {"error":"Invalid","message":"there are no regions here`,
		request("PUT", "/v1/push/a/k?region", ""):              `405 {"error":"Invalid"`,
	} {
		g := connect(t, instance(t, store, "a:rw"))
		g.sends(text)
		g.answers(want)
		g.sends(request("PUT", "/v1/state/a/still", "served"))
		g.answers("200")
	}
	g := connect(t, instance(t, store, "a:rw"))
	g.sends("PUT /v1/state/a/k HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n")
	if _, out := g.Buffered(); out != len("HTTP/1.1 100 Continue\r\n\r\n") {
		t.Errorf("%q", g.out)
	}
	g.sends("x")
	g.answers("100", "200")
}

// TestConnectionsAreBounded: there are 16, and one that has ended makes room.
func TestConnectionsAreBounded(t *testing.T) {
	store := state.New(state.Options{})
	defer store.Close()
	s := instance(t, store, "a:rw")
	var all []*client
	for range maxConns {
		all = append(all, connect(t, s))
	}
	if _, err := s.accept(&fakeStream{}); err == nil {
		t.Fatal("one more is taken")
	}
	all[3].leaves()
	connect(t, s)
	for _, g := range all {
		g.sends(request("GET", "/v1/state?prefix=a/", ""))
		if g != all[3] {
			g.answers(`200 {"items":[]}`)
		}
	}
	s.Close()
	if _, err := s.accept(&fakeStream{}); err == nil {
		t.Error("an instance that is over is served")
	}
}

// TestHeldBytes: what is held of requests is bounded for all connections together, what is over
// it is refused by name, and nothing of it stays.
func TestHeldBytes(t *testing.T) {
	store := state.New(state.Options{})
	defer store.Close()
	s := instance(t, store, "a:rw")
	whole := request("PUT", "/v1/state/a/k", strings.Repeat("x", MaxBody))
	var all []*client
	for range 3 {
		g := connect(t, s)
		g.sends(whole[:len(whole)-1])
		all = append(all, g)
	}
	all[2].answers(`429 {"error":"TooMany"`)
	all[2].sends(whole) // and nothing comes of it
	all[2].silent()
	for _, g := range all[:2] {
		g.sends(whole[len(whole)-1:])
		g.answers("200")
	}
	all[0].sends(whole[:1000])
	all[0].leaves()
	if s.held != 0 {
		t.Errorf("%d bytes are held", s.held)
	}
}

// TestUnreadAnswers: who asks and does not read is reset, and large answers are bounded for all
// connections together.
func TestUnreadAnswers(t *testing.T) {
	store := state.New(state.Options{})
	defer store.Close()
	s := instance(t, store, "a:rw")
	g := connect(t, s)
	g.sends(request("PUT", "/v1/state/a/k", strings.Repeat("x", MaxBody)))
	g.answers("200")
	get := request("GET", "/v1/state/a/k", "")
	var all []*client
	for range maxConns - 1 {
		g := connect(t, s)
		g.sends(get)
		all = append(all, g)
	}
	if n := s.unread(); n > maxAnswers {
		t.Errorf("%d bytes wait", n)
	}
	all[len(all)-1].answers(`429 {"error":"TooMany"`)
	all[0].answers("200 xxx")
	all[len(all)-1].sends(get)
	all[len(all)-1].answers("200 xxx")
	all[1].sends(get)
	if err := all[1].Err(); !errors.Is(err, vsock.ErrReset) {
		t.Error(err)
	}
}

// TestUnreadResults: the result of a call that is not passed on, for want of room or of a reader,
// can be awaited again.
func TestUnreadResults(t *testing.T) {
	chains := chain.New(chain.Options{Host: "ada", Run: func(_ context.Context, _ *chain.Call, began func()) ([]byte, error) {
		began()
		return bytes.Repeat([]byte("1"), 6<<20), nil
	}})
	defer chains.Close()
	caller, err := chains.Open(chain.Who{Owner: "ada", Function: "f", Link: chain.Link{Request: "r", Root: "r"}, Rights: chain.Rights{"*"}})
	if err != nil {
		t.Fatal(err)
	}
	s := New(nil, nil, func() (*chain.Caller, error) { return caller, nil })
	defer s.Close()
	ids := make([]string, maxAnswers/(6<<20)+1)
	for n := range ids {
		if ids[n], err = caller.Call("g", nil, chain.Ask{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range ids {
		for end := time.Now().Add(20 * time.Second); !caller.Done(id); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("it is not over")
			}
		}
	}
	var all []*client
	for _, id := range ids {
		g := connect(t, s)
		g.sends(request("GET", "/v1/calls/"+id, ""))
		all = append(all, g)
	}
	last, again := all[len(all)-1], request("GET", "/v1/calls/"+ids[len(ids)-1], "")
	last.answers(`429 {"error":"TooMany"`)
	all[0].answers("200 111")
	all[0].sends(request("GET", "/v1/calls/"+ids[0], "")) // it is told once
	all[0].answers(`404 {"error":"NotFound"`)
	all[1].answers("200 111")
	gone := connect(t, s)
	gone.sends(again[:len(again)-1])
	gone.k.c = &fakeStream{in: []byte(again[len(again)-1:]), err: vsock.ErrReset}
	gone.k.arrived()
	last.sends(again)
	last.answers("200 111")
}

// TestNobodyWaits: a wait ends with the connection on which it was asked for, and a lock that
// was granted to nobody is free.
func TestNobodyWaits(t *testing.T) {
	store := state.New(state.Options{})
	defer store.Close()
	s, other := instance(t, store, "a:rw"), instance(t, store, "a:rw")
	h := connect(t, other)
	h.sends(request("POST", "/v1/locks/a/k", ""))
	h.answers(`200 {"token":1`)
	g := connect(t, s)
	lock := request("POST", "/v1/locks/a/k", "")
	g.sends(lock)
	waits(t, store, 1, 1)
	g.leaves()
	waits(t, store, 0, 1)
	g = connect(t, s)
	g.sends(lock)
	waits(t, store, 1, 1)
	g.end(vsock.ErrReset) // and nothing is said before it is granted
	h.sends(request("DELETE", "/v1/locks/a/k?token=1", ""))
	h.answers("200")
	waits(t, store, 0, 0)

	h.sends(request("POST", "/v1/locks/a/k", ""))
	h.answers(`200 {"token":`)
	for range maxConns - 1 {
		connect(t, s).sends(request("GET", "/v1/state/a/new?known=0", ""))
	}
	waits(t, store, maxConns-1, 1)
	s.Close()
	waits(t, store, 0, 1)
	other.Close()
	waits(t, store, 0, 0)
}

// FuzzServer: whatever a guest sends, nothing fails otherwise than with an answer, and nothing
// is held of it when it has gone.
func FuzzServer(f *testing.F) {
	f.Add([]byte(request("PUT", "/v1/state/a/k?offset=5&version=0", "x")+request("GET", "/v1/state/a/k?length=2", "")), 3)
	f.Add([]byte(request("POST", "/v1/locks/a/k?wait_ms=0", "")+request("GET", "/v1/state?prefix=a/&after=a/b&limit=1", "")), 9)
	f.Add([]byte(request("GET", "/v1/state/a/k?known=0", "")+request("GET", "/v1/state/a/k?appended=0", "")), 100)
	f.Fuzz(func(t *testing.T, text []byte, step int) {
		store := state.New(state.Options{ValueBytes: 1 << 20})
		defer store.Close()
		s := instance(t, store, "a:rw")
		g := connect(t, s)
		step = max(step, 1)
		for at := 0; at < len(text); at += min(step, len(text)-at) {
			g.sends(string(text[at:min(at+step, len(text))]))
		}
		g.leaves()
		s.Close()
		if s.held != 0 || len(s.conns) != 0 {
			t.Errorf("%d bytes of %d connections are held", s.held, len(s.conns))
		}
	})
}
