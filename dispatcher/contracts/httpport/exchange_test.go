package httpport

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"

	"seuss/dispatcher/contracts"
)

// TestExchangePanics: what an exchange panics with ends its request, is none of the program's
// faults, and shows a client nothing of the daemon's stack.
func TestExchangePanics(t *testing.T) {
	call := contracts.Call{Exchange: func(context.Context, *contracts.Call, contracts.Dial) error { panic("a fault") }}
	err := failed(exchange(t.Context(), &call, nil))
	var fault *contracts.PanicError
	if !errors.As(err, &fault) || !strings.Contains(string(fault.Stack), "TestExchangePanics") {
		t.Fatal(err)
	}
	if text := err.Error(); !strings.Contains(text, "a fault") || strings.Contains(text, "goroutine") {
		t.Errorf("a client is told %q", text)
	}
}

// TestInterimAnswers: headers of answers that come before the answer (1xx) are edited as its
// own, and do not take the service's away.
func TestInterimAnswers(t *testing.T) {
	program, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	go func() {
		c, err := program.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			io.WriteString(c, "HTTP/1.1 103 Early Hints\r\nLink: <a>\r\nOwn: forged\r\nHidden: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\nOwn: forged\r\nHidden: x\r\n\r\nok")
		}
	}()
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Own", "the service's")
		p := Proxy{W: w, R: r, Path: "/", Edit: func(h http.Header) { h.Del("Hidden") }}
		if err := p.Exchange(r.Context(), &contracts.Call{}, func(context.Context) (net.Conn, error) { return net.Dial("tcp", program.Addr().String()) }); err != nil {
			t.Error(err)
		}
	}))
	defer service.Close()
	interim := 0
	check := func(what string, h http.Header) {
		if h.Get("Own") == "forged" || h.Get("Hidden") != "" {
			t.Errorf("%s: %v", what, h)
		}
	}
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		interim = code
		check("interim", http.Header(h))
		if h.Get("Link") != "<a>" {
			t.Error(h)
		}
		return nil
	}})
	r, err := http.NewRequestWithContext(ctx, "GET", service.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	check("the answer", answer.Header)
	if interim != 103 || answer.Header.Get("Own") != "the service's" {
		t.Error(interim, answer.Header)
	}
}
