package server_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"seuss/dispatcher"
	_ "seuss/dispatcher/http/lambda"
	"seuss/dispatcher/http/listener"
	_ "seuss/dispatcher/http/native"
	"seuss/dispatcher/http/server"
	"seuss/dispatcher/http/servertest"
	"seuss/dispatcher/sched"
)

// largeResult is a JSON string of 5.9 MB.
var largeResult = []byte(`"` + strings.Repeat("a", 5_900_000) + `"`)

// onConns starts a server on a listener of a group, as the daemon does.
func onConns(t *testing.T, f *servertest.Fake, network string, slots int) (address string, conns *listener.Group) {
	t.Helper()
	s, _ := f.Serve(t, func(options *servertest.Options) {
		options.Scheduler = sched.New(sched.Options{Slots: slots, MaxWait: time.Minute, Target: -1})
	})
	address = "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "s")
	}
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	conns = listener.NewGroup(listener.Options{})
	h := server.NewHTTPServer(s.Access("", network == "unix"))
	go h.Serve(conns.Listen(l, server.MaxConnections))
	t.Cleanup(func() {
		h.Close()
		over, cancel := context.WithCancel(context.Background())
		cancel()
		conns.Close(over)
	})
	return l.Addr().String(), conns
}

// deaf sends a request on a connection with a small receive buffer and reads
// nothing of what is answered.
func deaf(t *testing.T, address, path string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.(*net.TCPConn).SetReadBuffer(4096); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 13\r\n\r\n{\"event\": {}}", path); err != nil {
		t.Fatal(err)
	}
	return c
}

// Clients that do not read what they are answered hold neither machine nor ticket:
// everybody else is served, with one machine as with several, whichever API both
// use.
func TestClientsThatDoNotRead(t *testing.T) {
	for _, slots := range []int{1, 4} {
		t.Run(fmt.Sprintf("%d machines", slots), func(t *testing.T) {
			f := servertest.New(t)
			f.Put(t, "large", "echo")
			delivered := make(chan struct{}, 100)
			f.OnInvoke = func(_ context.Context, r dispatcher.Request) (*dispatcher.Result, error) {
				if r.Function != "large" {
					return &dispatcher.Result{Output: []byte(`1`)}, nil
				}
				return &dispatcher.Result{Output: largeResult}, nil
			}
			f.Delivered = func() { delivered <- struct{}{} }
			address, conns := onConns(t, f, "tcp", slots)
			paths := []string{"/2015-03-31/functions/large/invocations", "/v1/functions/large/invoke"}
			for i := range 10 {
				deaf(t, address, paths[i%len(paths)])
			}
			for range 10 {
				select {
				case <-delivered:
				case <-time.After(time.Minute):
					t.Fatal("a machine waits for a client that does not read")
				}
			}
			if n := conns.WaitingBytes(); n == 0 {
				t.Error("nothing waits: these clients have read")
			}
			for range 50 {
				answer, err := http.Post("http://"+address+"/2015-03-31/functions/echo/invocations", "application/json", strings.NewReader("{}"))
				if err != nil {
					t.Fatal(err)
				}
				answer.Body.Close()
				if answer.StatusCode != http.StatusOK {
					t.Fatalf("others get %s", answer.Status)
				}
			}
		})
	}
}

// A connection whose last answer was not read asks for nothing more.
func TestUnreadAnswerHoldsItsConnection(t *testing.T) {
	f := servertest.New(t)
	f.Put(t, "large")
	runs := make(chan struct{}, 100)
	f.OnInvoke = func(context.Context, dispatcher.Request) (*dispatcher.Result, error) {
		runs <- struct{}{}
		return &dispatcher.Result{Output: largeResult}, nil
	}
	address, _ := onConns(t, f, "unix", 1)
	const again = "POST /2015-03-31/functions/large/invocations HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}"
	const last = "POST /2015-03-31/functions/large/invocations HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"
	dial := func(requests string) net.Conn {
		c, err := net.Dial("unix", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if _, err := io.WriteString(c, requests); err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := dial(again + last)
	<-runs
	other, err := http.ReadResponse(bufio.NewReader(dial(last)), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Body.Close()
	<-runs
	if whole, err := io.ReadAll(other.Body); err != nil || !bytes.Equal(whole, largeResult) {
		t.Errorf("%d bytes, %v", len(whole), err)
	}
	select {
	case <-runs:
		t.Error("it runs though the answer before it was not read")
	default:
	}
	// Once it reads, both answers come whole.
	all, err := io.ReadAll(c)
	if n := bytes.Count(all, largeResult); err != nil || n != 2 {
		t.Errorf("%d whole answers in %d bytes, %v", n, len(all), err)
	}
}
