package server_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"seuss/dispatcher/http/servertest"
)

// Whether the service lives and serves needs no token and no host name; all else does. One
// that drains lives and serves nothing more.
func TestHealth(t *testing.T) {
	for _, c := range []struct {
		name         string
		unfit        []string
		drain        bool
		ready        int
		want, reason string
	}{
		{"serves", nil, false, 200, `"ready":true`, ""},
		{"damaged", []string{"store damaged", "no platform"}, false, 503, `"ready":false`, `["store damaged","no platform"]`},
		{"drains", nil, true, 503, `"ready":false`, `["draining"]`},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := servertest.New(t)
			f.Unfit = c.unfit
			s := f.Server(t, nil)
			if c.drain {
				if err := s.Scheduler.Drain(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			h := s.Access("a token of some length", false)
			ask := func(path string) *httptest.ResponseRecorder {
				w := httptest.NewRecorder()
				r := httptest.NewRequest("GET", path, nil)
				r.Host = "elsewhere.example"
				h.ServeHTTP(w, r)
				return w
			}
			if w := ask("/healthz"); w.Code != http.StatusOK {
				t.Errorf("%d %s", w.Code, w.Body)
			}
			if w := ask("/readyz"); w.Code != c.ready || !strings.Contains(w.Body.String(), c.want) || !strings.Contains(w.Body.String(), c.reason) {
				t.Errorf("%d %s", w.Code, w.Body)
			}
			for _, path := range []string{"/v1/health", "/metrics", "/healthz/", "/readyz/../metrics", "/openapi.json"} {
				if w := ask(path); w.Code == http.StatusOK || w.Code == http.StatusServiceUnavailable {
					t.Errorf("%s: %d without a token", path, w.Code)
				}
			}
		})
	}
}
