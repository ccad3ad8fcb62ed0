package guesthttp

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

// TestRequest: a request is whole when its last byte is there, however it is cut, and what
// is larger than a response may be is refused as soon as that is known.
func TestRequest(t *testing.T) {
	chunked := "POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
	for _, c := range []struct{ name, text, body, trailer string }{
		{"no body", "GET /x HTTP/1.1\r\nHost: h\r\n\r\n", "", ""},
		{"length", "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello", "hello", ""},
		{"empty", "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", "", ""},
		{"chunks", chunked + "5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\n\r\n", "hello world", ""},
		{"no chunk", chunked + "0\r\n\r\n", "", ""},
		{"what looks like an end", chunked + "7\r\n\r\n\r\n0\r\n\r\n0\r\n\r\n", "\r\n\r\n0\r\n", ""},
		{"trailers", strings.Replace(chunked, "\r\n\r\n", "\r\nTrailer: A\r\n\r\n", 1) + "1\r\nx\r\n0\r\nA: b\r\n\r\n", "x", "b"},
	} {
		for _, step := range []int{1, 3, len(c.text)} {
			r := Request{MaxBody: 6<<20 + 64<<10}
			whole := false
			for at := 0; at < len(c.text); at += step {
				if whole {
					t.Fatalf("%s in steps of %d: whole after %d of %d bytes", c.name, step, at, len(c.text))
				}
				var err error
				if whole, err = r.Add([]byte(c.text[at:min(at+step, len(c.text))])); err != nil {
					t.Fatalf("%s: %v", c.name, err)
				}
			}
			if body := r.Body(); !whole || string(body) != c.body || r.Head.Trailer.Get("A") != c.trailer {
				t.Errorf("%s in steps of %d: whole %v, %q, trailer %v", c.name, step, whole, body, r.Head.Trailer)
			}
		}
	}
	for name, text := range map[string]string{
		"length":     "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 7000000\r\n\r\n",
		"chunk":      chunked + "ffffffff\r\n",
		"no number":  chunked + "x\r\n",
		"long chunk": chunked + "1\r\nxyz",
		"long line":  chunked + "1;" + strings.Repeat("x", maxLine),
		"header":     "GET /x HTTP/1.1\r\nA: " + strings.Repeat("x", MaxHead),
		"trailers":   chunked + "0\r\nA: " + strings.Repeat("x", MaxHead) + "\r\n\r\n",
		"no request": "hello\r\n\r\n",
		"body":       chunked + strings.Repeat("10000\r\n"+strings.Repeat("x", 0x10000)+"\r\n", 102),
	} {
		r := Request{MaxBody: 6<<20 + 64<<10}
		if whole, err := r.Add([]byte(text)); whole || err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// FuzzRequest: however a request is cut, it is what net/http reads of it, or an error.
func FuzzRequest(f *testing.F) {
	f.Add([]byte("POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n\r\n"), 7)
	f.Add([]byte("GET /x HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc"), 1)
	f.Fuzz(func(t *testing.T, text []byte, step int) {
		step = max(step, 1)
		r := Request{MaxBody: 6<<20 + 64<<10}
		for at := 0; at < len(text); at += min(step, len(text)-at) {
			whole, err := r.Add(text[at:min(at+step, len(text))])
			r.Expects()
			if err != nil {
				return
			}
			if whole {
				got := r.Body()
				same, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(text)))
				if err != nil {
					t.Fatal(err)
				}
				want, err := io.ReadAll(same.Body)
				if err == nil && !bytes.Equal(got, want) {
					t.Fatalf("%q, want %q", got, want)
				}
				return
			}
		}
	})
}

// TestKeptConnection: requests that come one behind the other are told apart.
func TestKeptConnection(t *testing.T) {
	r := Request{MaxBody: 100}
	rest := []byte("PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhiPUT /b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\nGET /c HTTP/1.1\r\nHost: h\r\n\r\nGET /d")
	for _, want := range []string{"/a", "/b", "/c"} {
		whole, err := r.Add(rest)
		if err != nil || !whole || r.Head.URL.Path != want || want != "/c" && string(r.Body()) != "hi" {
			t.Fatal(want, whole, err)
		}
		rest = bytes.Clone(r.Next())
	}
	if whole, err := r.Add(rest); whole || err != nil {
		t.Fatal(whole, err)
	}
	if _, err := r.Add([]byte(" HTTP/1.1\r\nHost: h\r\nContent-Length: 101\r\n\r\n")); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
}
