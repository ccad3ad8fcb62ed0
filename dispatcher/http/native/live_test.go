package native

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"seuss/dispatcher/access"
	"seuss/dispatcher/api"
	"seuss/dispatcher/http/native/client"
	"seuss/dispatcher/http/servertest"
	"seuss/dispatcher/instance"
	"seuss/dispatcher/instances"
)

// TestLiveOverTheWire: what the client asks for is what the service does, output comes as it
// is printed, and errors are those that they were.
func TestLiveOverTheWire(t *testing.T) {
	f := servertest.New(t)
	s := f.Server(t, nil)
	h := httptest.NewServer(s)
	defer h.Close()
	c := client.New(func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", h.Listener.Addr().String())
	})
	defer c.Close()
	l, ctx := c.Live, t.Context()

	watch, err := http.Get(h.URL + "/v1/watch/instances")
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Body.Close()
	events := bufio.NewScanner(watch.Body)
	next := func(want string) {
		t.Helper()
		for events.Scan() {
			if strings.Contains(events.Text(), want) {
				return
			}
		}
		t.Fatalf("no %s: %v", want, events.Err())
	}
	next("event: ready")

	if _, err := l.Create(ctx, instances.Spec{Image: "python", Name: "one"}); err != nil {
		t.Fatal(err)
	}
	next(`"name":"one"`)
	var printed []instance.LogLine
	code, bad := "x", "fail"
	a, err := l.Exec(ctx, "one", instances.Call{Code: &code}, func(line instance.LogLine) { printed = append(printed, line) })
	if err != nil || string(a.Value) != "1" || len(printed) != 1 || printed[0] != (instance.LogLine{Stream: "stdout", Text: "hello\n"}) {
		t.Errorf("%+v, %v, %v", a, printed, err)
	}
	next(`"state":"running"`)
	next(`"state":"parked"`)
	if a, err := l.Exec(ctx, "one", instances.Call{Code: &bad}, func(instance.LogLine) {}); err != nil || a.Error == nil || a.Error.Type != "ValueError" {
		t.Errorf("%+v, %v", a, err)
	}
	if info, err := l.Pause(ctx, "one", false); err != nil || info.State != instances.Paused {
		t.Errorf("%+v, %v", info, err)
	}
	if a, err := l.Invoke(ctx, "one", instances.Call{Event: []byte("1")}); err != nil || string(a.Value) != "3" || len(a.Logs) != 1 {
		t.Errorf("%+v, %v", a, err)
	}
	if list, err := l.Fork(ctx, "one", api.Fork{Count: 3}); err != nil || len(list) != 3 || list[2].Parent != "one" {
		t.Errorf("%+v, %v", list, err)
	}
	if list, err := l.List(ctx); err != nil || len(list) != 4 {
		t.Errorf("%+v, %v", list, err)
	}
	if _, err := l.Show(ctx, "two"); !errors.Is(err, instances.ErrUnknown) {
		t.Errorf("%v", err)
	}
	followed := make(chan error, 1)
	lines := make(chan string, 100)
	go func() {
		followed <- l.Follow(ctx, "one", func(line instance.LogLine) { lines <- line.Text })
	}()
	for range 3 {
		<-lines
	}
	// What it waits for ends with it.
	wait := "wait"
	ended := make(chan error, 1)
	go func() {
		_, err := l.Exec(ctx, "one", instances.Call{Code: &wait}, func(instance.LogLine) {})
		ended <- err
	}()
	if info, err := l.Wait(ctx, "one", "running"); err != nil || info.State != instances.Running {
		t.Errorf("%+v, %v", info, err)
	}
	if err := l.Remove(ctx, "one"); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, instances.ErrRemoved) {
		t.Errorf("%v", err)
	}
	if err := <-followed; err != nil {
		t.Error(err)
	}
	next(`"state":"gone"`)
}

// TestNamesOfCopies: whose token reaches some names makes instances of these, and copies too:
// none that he could not remove, and none in another owner's name.
func TestNamesOfCopies(t *testing.T) {
	a := newHouse(t, access.Token{Name: "labs", Owner: "alice", Rights: []string{"invoke", "read", "deploy"}, Functions: []string{"lab-*"}},
		access.Token{Name: "alice", Owner: "alice", Rights: []string{"invoke", "read", "deploy"}})
	for _, c := range []struct {
		token, path, body string
		want              int
	}{
		{"labs", "", `{"image":"python","name":"other"}`, 403},
		{"labs", "", `{"image":"python"}`, 403},
		{"labs", "", `{"image":"python","name":"lab-1"}`, 201},
		{"labs", "/lab-1/fork", `{}`, 403},
		{"labs", "/lab-1/fork", `{"names":["other"]}`, 403},
		{"labs", "/lab-1/fork", `{"count":2,"names":["lab-2"]}`, 403},
		{"labs", "/lab-1/fork", `{"names":["bob/lab-2"]}`, 403},
		{"labs", "/lab-1/fork", `{"count":2,"names":["lab-2","alice/lab-3"]}`, 201},
		{"alice", "/lab-1/fork", `{"count":3,"names":["mine"]}`, 201},
		{"alice", "/lab-1/fork", `{"count":-1}`, 400},
	} {
		if w := a.ask(c.token, "POST", "/v1/instances"+c.path, c.body); w.Code != c.want {
			t.Errorf("%s %s %s: %d, want %d: %s", c.token, c.path, c.body, w.Code, c.want, w.Body)
		}
	}
	for token, want := range map[string]int{"labs": 3, "alice": 6} {
		w := a.ask(token, "GET", "/v1/instances", "")
		if got := strings.Count(w.Body.String(), `"name":`); got != want {
			t.Errorf("%s sees %d, want %d: %s", token, got, want, w.Body)
		}
	}
}

// TestForward: a connection is one to a port of an instance: all that is sent comes there and
// back, either end is the other's, and what cannot be forwarded is refused by name.
func TestForward(t *testing.T) {
	f := servertest.New(t)
	s := f.Server(t, nil)
	h := httptest.NewServer(s)
	defer h.Close()
	c := client.New(func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", h.Listener.Addr().String())
	})
	defer c.Close()
	l := c.Live
	if _, err := l.Create(t.Context(), instances.Spec{Image: "python", Name: "one"}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			p, err := l.Forward(ctx, "one", 80)
			cancel() // it is there
			if err != nil {
				t.Error(err)
				return
			}
			defer p.Close()
			sent := bytes.Repeat([]byte{byte(n), 1, 2}, 1<<20)
			wg.Go(func() {
				p.Write(sent)
				p.CloseWrite()
			})
			if got, err := io.ReadAll(p); err != nil || !bytes.Equal(got, sent) {
				t.Errorf("%d bytes, %v; want %d", len(got), err, len(sent))
			}
		})
	}
	wg.Wait()
	if _, err := l.Pause(t.Context(), "one", false); err != nil {
		t.Fatal(err)
	}
	paused := func(want instances.State) {
		t.Helper()
		if info, err := l.Show(t.Context(), "one"); err != nil || info.State != want {
			t.Errorf("%+v, %v", info, err)
		}
	}
	var open []client.Port
	for range instances.MaxPorts {
		p, err := l.Forward(t.Context(), "one", 80)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		open = append(open, p)
	}
	if _, err := l.Forward(t.Context(), "one", 80); !errors.Is(err, instances.ErrBusy) {
		t.Errorf("one more than may be: %v", err)
	}
	paused(instances.Parked)
	if _, err := l.Pause(t.Context(), "one", false); err != nil {
		t.Fatal(err)
	}
	open[0].Write([]byte("x"))
	if _, err := io.ReadFull(open[0], make([]byte, 1)); err != nil {
		t.Error(err)
	}
	paused(instances.Parked)
	if _, err := l.Forward(t.Context(), "one", 0); err == nil || !strings.Contains(err.Error(), "port=") {
		t.Errorf("%v", err)
	}
	if _, err := l.Forward(t.Context(), "two", 80); !errors.Is(err, instances.ErrUnknown) {
		t.Errorf("%v", err)
	}
	s.Stop()
	io.ReadAll(open[1]) // ends
}

// TestDiffsWait: who wants to see what an instance is when it has done what it is at keeps
// nobody else from looking at snapshots.
func TestDiffsWait(t *testing.T) {
	a := newHouse(t, access.Token{Name: "alice", Owner: "alice", Rights: []string{"invoke", "read", "deploy"}})
	var wg sync.WaitGroup
	for n := range 2 * maxInspecting {
		name := fmt.Sprint("i", n)
		if w := a.ask("alice", "POST", "/v1/instances", `{"image":"python","name":"`+name+`"}`); w.Code != 201 {
			t.Fatal(w.Body)
		}
		wg.Go(func() { a.ask("alice", "POST", "/v1/instances/"+name+"/exec", `{"code":"wait"}`) })
		if w := a.ask("alice", "GET", "/v1/instances/"+name+"/wait?state=running", ""); w.Code != 200 {
			t.Fatal(w.Body)
		}
		wg.Go(func() { a.ask("alice", "GET", "/v1/instances/"+name+"/diff", "") })
	}
	for range 50 { // they are there sooner or later
		if w := a.ask(serviceToken, "GET", "/v1/usage", ""); w.Code != 200 {
			t.Fatalf("%d: %s", w.Code, w.Body)
		}
		time.Sleep(2 * time.Millisecond)
	}
	for n := range 2 * maxInspecting {
		a.ask("alice", "DELETE", fmt.Sprint("/v1/instances/i", n), "")
	}
	wg.Wait()
}

// TestTape: what is printed a byte at a time, to one stream and the other, is bounded in lines
// too, and what is lost of it is counted.
func TestTape(t *testing.T) {
	tape := &tape{more: make(chan struct{}, 1)}
	const printed = 2 << 20
	for n := range printed {
		tape.write(uint16(1+n%2), []byte("x"))
	}
	lines, lost := tape.take()
	kept := 0
	for _, line := range lines {
		kept += len(line.Text)
	}
	if len(lines) > 5000 || kept == 0 || uint64(kept)+lost != printed {
		t.Errorf("%d lines, %d bytes kept, %d lost", len(lines), kept, lost)
	}
	tape.write(1, []byte("y"))
	if lines, lost := tape.take(); len(lines) != 1 || lines[0].Text != "y" || lost != 0 {
		t.Errorf("what comes after that: %v, %d lost", lines, lost)
	}
}
