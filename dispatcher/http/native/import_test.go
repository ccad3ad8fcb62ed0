package native

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"seuss/dispatcher"
	"seuss/dispatcher/api"
	"seuss/dispatcher/http/server"
	"seuss/dispatcher/http/servertest"
)

// unread is a body of which nothing may be read.
type unread struct{ *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.Error("the body of a request was read that its head refuses")
	return 0, io.EOF
}

func spooled(t *testing.T, f *servertest.Fake) int {
	t.Helper()
	list, err := os.ReadDir(filepath.Join(f.StateDir(), dispatcher.SpoolDir))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return len(list)
}

// TestImportIsBounded: what is too large for the limit or the disk is refused by its
// declared size, before anything of it is read; what is larger than it declares, or than
// the disk has room for when it comes, ends there and leaves nothing behind.
func TestImportIsBounded(t *testing.T) {
	f := servertest.New(t)
	f.AddImage(t)
	archive := f.Archive(t)
	free := uint64(math.MaxInt64)
	asked, from := 0, 1<<30 // the disk is full from that question on
	s := f.Server(t, func(o *servertest.Options) {
		o.ImportBytes = 1 << 30
		o.FreeSpace = func(dir string) (uint64, uint64, error) {
			if dir != f.StateDir() {
				t.Errorf("asked for %s", dir)
			}
			if asked++; asked >= from {
				return 0, math.MaxInt64, nil
			}
			return free, math.MaxInt64, nil
		}
	})
	for _, c := range []struct {
		name, query string
		length      int64
		free        uint64
		full        int
		body        io.Reader
		status      int
		code        api.Code
		text        string
	}{
		{"too large by its length", "", 1<<30 + 1, math.MaxInt64, 0, unread{t}, 413, api.Invalid, "--import-limit"},
		{"too large by what it says", "?bytes=1073741825", -1, math.MaxInt64, 0, unread{t}, 413, api.Invalid, "--import-limit"},
		{"no size", "?bytes=much", -1, math.MaxInt64, 0, unread{t}, 400, api.Invalid, "bytes="},
		{"too large for the disk", "?bytes=1000000", -1, reserveBytes + 999_999, 0, unread{t}, 507, api.NoSpace, "do not fit"},
		{"no room at all", "", -1, reserveBytes - 1, 0, unread{t}, 507, api.NoSpace, "do not fit"},
		{"larger than it says", "?bytes=1000", -1, math.MaxInt64, 0, strings.NewReader(archive), 413, api.Invalid, "more than 1000 in all"},
		{"a disk that fills", "?bytes=1000000", -1, math.MaxInt64, 3, strings.NewReader(archive), 507, api.NoSpace, "do not fit"},
		{"cut", "?bytes=1000000", -1, math.MaxInt64, 0, strings.NewReader(archive[:len(archive)/2]), 400, api.Invalid, ""},
		{"as it should be", "?bytes=1000000", -1, reserveBytes + 1_000_000, 0, strings.NewReader(archive), 200, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			free, asked, from = c.free, 0, 1<<30
			if c.full > 0 {
				from = c.full
			}
			r := httptest.NewRequest("POST", "/v1/import"+c.query, c.body)
			r.ContentLength = c.length
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			var doc api.Error
			if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil {
				t.Fatal(err)
			}
			if w.Code != c.status || doc.Code != c.code || !strings.Contains(doc.Message, c.text) {
				t.Errorf("%d %+v, want %d %s %q", w.Code, doc, c.status, c.code, c.text)
			}
			if n := spooled(t, f); n != 0 {
				t.Errorf("%d archives are left", n)
			}
		})
	}
}

// TestImportIsBoundedUnpacked: the limit holds for what an archive unpacks to, too.
func TestImportIsBoundedUnpacked(t *testing.T) {
	f := servertest.New(t)
	f.AddImage(t)
	archive := f.Archive(t)
	var files int64
	for r := tar.NewReader(strings.NewReader(archive)); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		files += h.Size
	}
	s := f.Server(t, func(o *servertest.Options) { o.ImportBytes = files })
	w, r := httptest.NewRecorder(), httptest.NewRequest("POST", "/v1/import", strings.NewReader(archive))
	r.ContentLength = -1
	s.ServeHTTP(w, r)
	if w.Code != 413 || !strings.Contains(w.Body.String(), "unpacks to more") || !strings.Contains(w.Body.String(), "--import-limit") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// TestOneImportAtATime: a second one is refused with when to come again, and served when
// the first has ended, even if that is because its client sends nothing.
func TestOneImportAtATime(t *testing.T) {
	t.Parallel()
	f := servertest.New(t)
	f.AddImage(t)
	s := f.Server(t, func(o *servertest.Options) { o.BodyStall = time.Second })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := server.NewHTTPServer(s.Access("", false))
	go h.Serve(l)
	defer h.Close()
	archive := f.Archive(t)
	stalled, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer stalled.Close()
	fmt.Fprintf(stalled, "POST /v1/import HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n%s", len(archive), archive[:2000])
	for spooled(t, f) == 0 {
		time.Sleep(time.Millisecond)
	}
	ask := func() *http.Response {
		t.Helper()
		resp, err := http.Post("http://"+l.Addr().String()+"/v1/import", "application/x-tar", strings.NewReader(archive))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp
	}
	if resp := ask(); resp.StatusCode != 429 || resp.Header.Get("Retry-After") != "10" {
		t.Errorf("%s %v", resp.Status, resp.Header)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		if resp := ask(); resp.StatusCode == 200 {
			break
		} else if resp.StatusCode != 429 || time.Now().After(end) {
			t.Fatal("a client that sends nothing keeps others from importing: ", resp.Status)
		}
	}
	if n := spooled(t, f); n != 0 {
		t.Errorf("%d archives are left", n)
	}
}

// TestPace: an archive that comes byte by byte ends, one that only pauses does not, and
// none comes on when the service ends.
func TestPace(t *testing.T) {
	now := time.Unix(0, 0)
	stopping := make(chan struct{})
	p := &paced{Reader: bytes.NewReader(make([]byte, 100<<20)), now: func() time.Time { return now }, start: now, stopping: stopping}
	read := func(n int) error {
		_, err := p.Read(make([]byte, n))
		return err
	}
	now = now.Add(importGrace)
	if err := read(1); err != nil {
		t.Error(err)
	}
	now = now.Add(10 * time.Second)
	if err := read(10 * importPace); err != nil {
		t.Error(err)
	}
	now = now.Add(10 * time.Second)
	var refusal *server.Refusal
	if err := read(1); !errors.As(err, &refusal) || refusal.Status != http.StatusRequestTimeout {
		t.Error(err)
	}
	close(stopping)
	if err := read(1); !errors.Is(err, dispatcher.ErrClosed) {
		t.Error(err)
	}
}
