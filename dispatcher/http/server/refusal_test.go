package server_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	_ "seuss/dispatcher/http/lambda"
	_ "seuss/dispatcher/http/native"
	"seuss/dispatcher/http/server"
	"seuss/dispatcher/http/servertest"
	"seuss/dispatcher/sched"
)

// full is a server whose only slot is taken and whose queue is full.
func full(t testing.TB) (s *server.Server, address string) {
	t.Helper()
	f := servertest.New(t)
	f.Put(t, "echo")
	scheduler := sched.New(sched.Options{Slots: 1, Queue: 1, FunctionQueue: 1})
	s, _ = f.Serve(t, func(o *servertest.Options) { o.Scheduler = scheduler })
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	held, err := scheduler.Acquire(ctx, "echo", -1)
	if err != nil {
		t.Fatal(err)
	}
	wg.Go(func() { scheduler.Acquire(ctx, "echo", -1) })
	for scheduler.Stats().Waiting == 0 {
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := server.NewHTTPServer(s.Access("", false))
	go h.Serve(l)
	t.Cleanup(func() {
		cancel()
		wg.Wait()
		held.Release()
		h.Close()
	})
	return s, l.Addr().String()
}

// unread fails the test if anybody reads the body that it stands for.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("the body of a request was read that is refused anyway")
	return 0, io.EOF
}

func (unread) Close() error { return nil }

// TestRefusedUnread: what cannot be served is refused by its head, with a time
// to come again, and counted.
func TestRefusedUnread(t *testing.T) {
	s, _ := full(t)
	for _, path := range []string{"/2015-03-31/functions/echo/invocations", "/v1/functions/echo/invoke"} {
		w := newRecorder()
		r, err := http.NewRequest("POST", "http://127.0.0.1"+path, unread{t})
		if err != nil {
			t.Fatal(err)
		}
		r.ContentLength = 1000
		s.ServeHTTP(w, r)
		if w.status != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" {
			t.Errorf("%s: %d %v", path, w.status, w.Header())
		}
	}
	if n := s.Scheduler.Stats().Refused[sched.FunctionQueue]; n != 2 {
		t.Errorf("%d refusals are counted, want 2", n)
	}
}

// recorder is a client that reads the status only.
type recorder struct {
	header http.Header
	status int
}

func newRecorder() *recorder                    { return &recorder{header: http.Header{}} }
func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Write(p []byte) (int, error) { return len(p), nil }

// BenchmarkRefusal is a refusal over a connection that is kept.
func BenchmarkRefusal(b *testing.B) {
	for _, size := range []int{100, 100_000} {
		body := fmt.Sprintf(`{"event": {"a": %q}}`, strings.Repeat("x", size))
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			_, address := full(b)
			request := fmt.Sprintf("POST /v1/functions/echo/invoke HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
			c, err := net.Dial("tcp", address)
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			b.ReportAllocs()
			answer := make([]byte, 4096)
			for b.Loop() {
				if _, err := io.WriteString(c, request); err != nil {
					b.Fatal(err)
				}
				n, err := c.Read(answer)
				if err != nil || !strings.HasPrefix(string(answer[:n]), "HTTP/1.1 429") {
					b.Fatalf("%v %q", err, answer[:n])
				}
			}
		})
	}
}
