package functionurl_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"seuss/dispatcher"
	"seuss/dispatcher/contracts"
	"seuss/dispatcher/contracts/httpport"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/http/listener"
)

// program has invocations of a site reach a server of this process in place of a guest's. An
// invocation ends after a time; over is told.
func (s *site) program(t *testing.T, timeout time.Duration, h http.HandlerFunc) (over chan error) {
	t.Helper()
	behind := httptest.NewServer(h)
	t.Cleanup(behind.Close)
	dial := func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", behind.Listener.Addr().String())
	}
	over = make(chan error, 16)
	s.OnInvoke = func(ctx context.Context, r dispatcher.Request) (*dispatcher.Result, error) {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		deadline, _ := ctx.Deadline()
		err := r.Exchange(ctx, &contracts.Call{RequestID: r.RequestID, Deadline: deadline, Port: 80}, dial)
		over <- err
		return &dispatcher.Result{RequestID: r.RequestID, Output: []byte("null")}, err
	}
	return over
}

// serve makes a function that is a server, with a URL.
func (s *site) serve(t *testing.T, key, auth string, cors *functions.CORS) (id string) {
	t.Helper()
	id = s.deploy(t, key, auth, cors)
	f, err := s.FunctionStore().Get(key)
	if err != nil {
		t.Fatal(err)
	}
	f.Settings.Program = &functions.Program{Contract: httpport.Name, Command: []string{"/server"}, Port: 80}
	if _, err := s.FunctionStore().Put(f, []byte("{}")); err != nil {
		t.Fatal(err)
	}
	return id
}

// TestForward: a server is given a request's path and query as they came, and nothing with
// which a client shows the service who it is; what the service writes of an answer, it does not.
func TestForward(t *testing.T) {
	s := newSite(t)
	s.program(t, time.Minute, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Amzn-Requestid", "forged")
		if r.URL.Path != "/x" {
			w.WriteHeader(http.StatusEarlyHints)
		}
		w.Header().Set("Access-Control-Allow-Origin", "https://evil.example")
		w.Header().Set("Seuss-Request-Id", r.Header.Get("Seuss-Request-Id"))
		body, _ := io.ReadAll(r.Body)
		fmt.Fprint(w, r.RequestURI, " ", r.Host, " ", len(body), " ", r.Header["Authorization"], r.Header["X-Amz-Date"], r.Header["X-Amz-Security-Token"])
	})
	open := s.serve(t, "open", functions.AuthNone, &functions.CORS{Origins: []string{"https://a.example"}})
	signed := s.serve(t, "alice/signed", functions.AuthIAM, nil)
	host := ".lambda-url.localhost:9001 "
	for _, path := range []string{"//evil.example/a", "/a//b/../c", "/v1/functions?b=1;2&a", "/%2e%2E/x?q=%zz", "/?"} {
		want := path + " " + open + host + "0 [mine] [] []"
		answer, got := s.ask(t, open, "GET", path, "", map[string]string{"Authorization": "mine", "Origin": "https://a.example"}, nil)
		if got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
		if id := answer.Header.Values("X-Amzn-Requestid"); len(id) != 1 || id[0] != answer.Header.Get("Seuss-Request-Id") || len(answer.Header.Values("Access-Control-Allow-Origin")) != 1 || answer.Header.Get("Access-Control-Allow-Origin") != "https://a.example" {
			t.Errorf("%s: %v", path, answer.Header)
		}
	}
	for body, want := range map[string]int{"hello": 200, "other": 403} {
		answer, got := s.ask(t, signed, "POST", "/x", body, nil, sign(t, "caller", s.secrets["caller"], "hello"))
		if answer.StatusCode != want || want == 200 && got != "/x "+signed+host+"5 [] [] []" {
			t.Errorf("signed: %d %q", answer.StatusCode, got)
		}
	}
	for _, more := range []string{"b=1", "%zz", "b;c"} { // the program would read them
		answer, got := s.ask(t, signed, "POST", "/x?a=1", "hello", nil, func(r *http.Request) {
			sign(t, "caller", s.secrets["caller"], "hello")(r)
			r.URL.RawQuery += "&" + more
		})
		if answer.StatusCode != 403 {
			t.Errorf("%s behind what is signed: %d %q", more, answer.StatusCode, got)
		}
	}
	// The native route: no credentials by any spelling, and no page with the daemon's origin.
	for _, name := range []string{"Authorization", "authorization", "AUTHORIZATION"} {
		c := s.connect(t)
		fmt.Fprintf(c, "GET /v1/functions/open/http/x?y HTTP/1.1\r\nHost: localhost\r\n%s: Bearer %s\r\nConnection: close, %s\r\n\r\n", name, serviceToken, name)
		answer, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(answer.Body)
		if err != nil || string(got) != "/x?y localhost 0 [] [] []" || !strings.HasPrefix(answer.Header.Get("Content-Security-Policy"), "sandbox") {
			t.Errorf("%s: %q, %v, %v", name, got, answer.Header, err)
		}
	}
}

// TestSignedWeb: a program is given nothing of a body that is another one than the digest
// that was signed says, through whichever door.
func TestSignedWeb(t *testing.T) {
	s := newSite(t)
	asked := 0
	s.program(t, time.Minute, func(w http.ResponseWriter, r *http.Request) { asked++ })
	s.serve(t, "alice/web", functions.AuthNone, nil)
	for body, want := range map[string]int{"hello": 200, "other": 400} {
		r, err := http.NewRequest("POST", "http://"+s.Listener.Addr().String()+"/v1/functions/web/http/x", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256([]byte("hello"))
		r.Header.Set("X-Amz-Content-Sha256", hex.EncodeToString(sum[:]))
		sign(t, "caller", s.secrets["caller"], "hello")(r)
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if answer.Body.Close(); answer.StatusCode != want || asked != 1 && want == 200 {
			t.Errorf("%s: %d, the program was asked %d times", body, answer.StatusCode, asked)
		}
		asked = 0
	}
}

// TestOtherHosts: the Host header of a URL leads nowhere but to its function, and a URL's
// path nowhere but below it; with another Host it takes the service's token.
func TestOtherHosts(t *testing.T) {
	s := newSite(t)
	s.program(t, time.Minute, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "the program") })
	host := s.serve(t, "open", functions.AuthNone, nil) + ".lambda-url.localhost"
	for request, want := range map[string]string{
		"GET /v1/functions HTTP/1.1\r\nHost: " + host:                                              "the program",
		"GET /healthz HTTP/1.1\r\nHost: " + strings.ToUpper(host) + ".:80":                         "the program",
		"GET http://localhost/v1/functions HTTP/1.1\r\nHost: " + host:                              "authentication",
		"GET http://" + host + "/v1/functions HTTP/1.1\r\nHost: localhost":                         "the program",
		"GET http://" + host + " HTTP/1.1\r\nHost: " + host:                                        "the program",
		"GET /v1/functions HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-Host: " + host:               "authentication",
		"GET /v1/functions HTTP/1.1\r\nHost: x." + host:                                            "authentication",
		"GET /v1/functions HTTP/1.1\r\nHost: " + strings.Replace(host, ".lambda-url.", ".url.", 1): "authentication",
		"GET /v1/functions HTTP/1.0":                                                               "authentication",
	} {
		c := s.connect(t)
		fmt.Fprintf(c, "%s\r\nConnection: close\r\n\r\n", request)
		got, err := io.ReadAll(c)
		if err != nil || !strings.Contains(strings.ToLower(string(got)), want) {
			t.Errorf("%q: %v, %s", request, err, got)
		}
	}
}

func (s *site) connect(t *testing.T) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(time.Minute))
	return c
}

// TestSlowReader: a client that reads an answer of a server's slowly, but reads, holds the
// invocation no longer than its time.
func TestSlowReader(t *testing.T) {
	s := newSite(t)
	over := s.program(t, 500*time.Millisecond, func(w http.ResponseWriter, r *http.Request) {
		for more := make([]byte, 64<<10); ; {
			if _, err := w.Write(more); err != nil {
				return
			}
		}
	})
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conns := listener.NewGroup(listener.Options{})
	go s.Config.Serve(conns.Listen(inner, 1))
	c, err := net.Dial("tcp", inner.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.(*net.TCPConn).SetReadBuffer(4096)
	fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s.lambda-url.localhost\r\n\r\n", s.serve(t, "open", functions.AuthNone, nil))
	for end := time.After(time.Minute); ; {
		select {
		case err := <-over:
			if err == nil {
				t.Error("an endless answer has an end")
			}
			return
		case <-end:
			t.Fatal("the invocation goes on after its deadline")
		case <-time.After(20 * time.Millisecond):
			io.ReadFull(c, make([]byte, 1024))
		}
	}
}
