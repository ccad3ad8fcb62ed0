package tests

import (
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"seuss/dispatcher"
	"seuss/dispatcher/outbound"
)

// Holds as many streams as it gets, of a kind, until the test's server ends them.
const outboundFlood = `
import errno, socket, struct
def handler(event, context):
    held, errors = [], {}
    for n in range(event["count"]):
        if event["kind"] == "host port":
            s = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
            to = (2, 7000)
        else:
            s, to = socket.socket(), ("198.51.100.7", event["port"])
        s.settimeout(20)
        try:
            s.connect(to)
            s.sendall(b"hello")
            if s.recv(5) != b"hello":
                raise ConnectionResetError(errno.ECONNRESET, "ended")
            held.append(s)
        except OSError as e:
            errors[errno.errorcode.get(e.errno, str(e))] = errors.get(errno.errorcode.get(e.errno, str(e)), 0) + 1
            s.close()
    out = {"held": len(held), "errors": errors}
    if event.get("wait"):
        held[0].settimeout(60)
        held[0].recv(1)
    return out
`

// floodServer answers the first five bytes of a connection, tells of it, and ends all when
// it is told to.
func floodServer(t *testing.T, l net.Listener) (come <-chan struct{}, end func()) {
	t.Helper()
	seen, over := make(chan struct{}, 1000), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(time.Minute))
				b := make([]byte, 5)
				if _, err := c.Read(b); err != nil {
					return
				}
				if _, err := c.Write(b); err != nil {
					return
				}
				seen <- struct{}{}
				<-over
			})
		}
	})
	end = sync.OnceFunc(func() { close(over) })
	t.Cleanup(func() {
		end()
		l.Close()
		wg.Wait()
	})
	return seen, end
}

// TestOutboundFair: a function that takes all the connections it can get leaves another one
// its share, to other machines and to host ports; what is refused has its errno, is named
// in the result and counted.
func TestOutboundFair(t *testing.T) {
	const sure, total = 8, 40
	for _, kind := range []string{"connection", "host port"} {
		t.Run(kind, func(t *testing.T) {
			dir := shortDir(t)
			var l net.Listener
			var err error
			port, refusal := 0, "ENOBUFS"
			if kind == "host port" {
				l, err = net.Listen("unix", filepath.Join(dir, "host_7000"))
				refusal = "ECONNRESET"
			} else if l, err = net.Listen("tcp", "127.0.0.1:0"); err == nil {
				port = l.Addr().(*net.TCPAddr).Port
			}
			if err != nil {
				t.Fatal(err)
			}
			come, end := floodServer(t, l)
			d := open(t, func(o *dispatcher.Options) {
				o.PoolSize, o.VsockDir, o.HostPorts = 2, dir, []uint32{7000}
				o.Network = outside(t, outsideAddr+":*")
				o.Budgets = &outbound.Budgets{Streams: outbound.NewBudget(total, 2, sure, 256), Lookups: outbound.NewBudget(8, 2, 2, 8)}
			})
			for _, name := range []string{"flood", "honest"} {
				deploy(t, d, name, outboundFlood, nil)
				t.Cleanup(func() { d.RemoveFunction(name) })
			}
			var flood *dispatcher.Result
			done := make(chan error, 1)
			go func() {
				var err error
				flood, err = d.Invoke(t.Context(), dispatcher.Request{Function: "flood", Event: fmt.Appendf(nil, `{"kind": %q, "port": %d, "count": 100, "wait": 1}`, kind, port)})
				done <- err
			}()
			// Of what is common it has what is free after: half.
			for range sure + (total-2*sure)/2 {
				select {
				case <-come:
				case err := <-done:
					t.Fatal(describe(err), flood)
				}
			}
			type counts struct {
				Held   int
				Errors map[string]int
			}
			r := invoke(t, d, "honest", fmt.Sprintf(`{"kind": %q, "port": %d, "count": %d}`, kind, port, sure+2))
			if got := output[counts](t, r); got.Held != sure+2 || len(got.Errors) > 0 {
				t.Errorf("the honest one: %+v", got)
			}
			end()
			if err := <-done; err != nil {
				t.Fatal(describe(err))
			}
			held := sure + (total-2*sure)/2
			if got := output[counts](t, flood); got.Held != held || got.Errors[refusal] != 100-held || len(got.Errors) != 1 {
				t.Errorf("the flood: %+v, want %d held and the others %s", got, held, refusal)
			}
			if st := d.Stats(); st.StreamsRefused < uint64(100-held) {
				t.Errorf("%d are counted", st.StreamsRefused)
			}
			if kind == "connection" && len(flood.NetworkRefused) == 0 {
				t.Error("the result names no refusal")
			}
		})
	}
}
