package tests

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"seuss/dispatcher"
	"seuss/dispatcher/bounds"
	"seuss/dispatcher/functions"
)

// TestBoundsOfFunctions: of what the daemon allows, a function reaches what it was
// deployed with; an update counts for the next invocation; what is beyond the daemon's
// bounds is refused by name; and code that is deployed anew is held to what was said of
// the old.
func TestBoundsOfFunctions(t *testing.T) {
	port := echoServer(t)
	here := fmt.Sprintf("%s:%d", outsideAddr, port)
	d := open(t, func(o *dispatcher.Options) {
		o.Network, o.FunctionTimeout = outside(t, here, outsideName+":443"), 20*time.Second
	})
	code := fmt.Sprintf(`
import socket
def handler(event, context):
    print("x" * 5000)
    try:
        c = socket.create_connection((%q, %d), 10)
        c.sendall(b"hello")
        return c.recv(5).decode()
    except OSError as e:
        return type(e).__name__ + " " + str(e.errno)
`, outsideAddr, port)
	put := func(name string, s functions.Settings) error {
		_, err := d.Deploy(t.Context(), dispatcher.FunctionSpec{Name: name, Handler: "main.handler", Files: map[string][]byte{"main.py": []byte(code)}, Settings: s})
		return err
	}
	reaches := func(name string, want string) *dispatcher.Result {
		t.Helper()
		r, err := d.Invoke(t.Context(), dispatcher.Request{Function: name, Event: []byte(`{}`), Explain: true})
		if err != nil {
			t.Fatal(err)
		}
		if r.Error != nil || string(r.Output) != `"`+want+`"` {
			t.Errorf("%s: %s %v, want %s", name, r.Output, r.Error, want)
		}
		return r
	}
	if err := put("open", functions.Settings{}); err != nil {
		t.Fatal(err)
	}
	reaches("open", "hello")
	if err := put("held", functions.Settings{Network: []string{outsideName + ":443"}, OutputBytes: 100}); err != nil {
		t.Fatal(err)
	}
	r := reaches("held", "PermissionError 13")
	if r.Bounds == nil || len(r.Bounds.Network) != 1 || r.NetworkRefused[here] == 0 {
		t.Errorf("%+v, refused %v", r.Bounds, r.NetworkRefused)
	}
	if len(r.Logs) != 1 || len(r.Logs[0].Text) != 100 || !r.LogsCut {
		t.Errorf("output: %+v", r.Logs)
	}
	update := func(edit func(*functions.Settings)) error {
		_, err := d.Configure("held", "", edit)
		return err
	}
	if err := update(func(s *functions.Settings) { s.Network = []string{here} }); err != nil {
		t.Fatal(err)
	}
	reaches("held", "hello")
	if err := update(func(s *functions.Settings) { s.Network = []string{} }); err != nil {
		t.Fatal(err)
	}
	reaches("held", "OSError 101")
	if err := put("held", functions.Settings{}); err != nil {
		t.Fatal(err)
	}
	reaches("held", "OSError 101")
	for want, err := range map[string]error{
		"example.org:1": put("beyond", functions.Settings{Network: []string{here, "example.org:1"}}),
		"host port 7":   update(func(s *functions.Settings) { s.HostPorts = []uint32{7} }),
		"21s":           update(func(s *functions.Settings) { s.TimeoutSec = 21 }),
	} {
		if !errors.Is(err, bounds.ErrBeyond) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s named", err, want)
		}
	}
	if _, err := d.Function("beyond"); !errors.Is(err, dispatcher.ErrUnknownFunction) {
		t.Errorf("a function that was refused is deployed: %v", err)
	}
}
