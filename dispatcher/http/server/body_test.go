package server

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// timedBody takes its deadline back when the body is whole.
func TestBodyDeadline(t *testing.T) {
	w := &deadlines{}
	b := &timedBody{ReadCloser: io.NopCloser(strings.NewReader("body")), control: http.NewResponseController(w), end: time.Now().Add(bodyTimeout), stall: DefaultBodyStall}
	if _, err := io.ReadAll(b); err != nil {
		t.Fatal(err)
	}
	if len(w.set) < 2 || w.set[0].IsZero() || !w.set[len(w.set)-1].IsZero() {
		t.Errorf("deadlines %v", w.set)
	}
	b.end = time.Now().Add(time.Second)
	w.set = nil
	b.Read(make([]byte, 1))
	if len(w.set) == 0 || w.set[0].After(b.end) {
		t.Errorf("a dripping body goes on for ever: %v", w.set)
	}
}

type deadlines struct {
	http.ResponseWriter
	set []time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error {
	d.set = append(d.set, t)
	return nil
}
