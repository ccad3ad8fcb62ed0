package tests

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestClientsThatDoNotRead: ten clients ask for 5.9 MB each and read nothing of it.
// Everybody else is served, with one machine as with four, and the service ends
// within its drain.
func TestClientsThatDoNotRead(t *testing.T) {
	t.Parallel()
	for _, machines := range []string{"1", "4"} {
		t.Run(machines+" machines", func(t *testing.T) {
			t.Parallel()
			d := startDaemon(t, "--machines", machines, "--drain", "4s", "--max-wait", "2m", "--target-wait", "2m")
			d.create("large", "def handler(e, c):\n    return 'a' * 5900000\n", nil)
			d.create("small", "def handler(e, c):\n    return 1\n", nil)
			d.wantOutput("small", `{}`, `1`)
			ran := func() string { return d.metric(`seuss_invocations_total{outcome="ok"}`) }
			const before = 1 // of small
			address := strings.TrimPrefix(d.url, "http://")
			const deaf = 10
			for range deaf {
				c, err := net.Dial("tcp", address)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				if err := c.(*net.TCPConn).SetReadBuffer(4096); err != nil {
					t.Fatal(err)
				}
				if _, err := fmt.Fprintf(c, "POST /2015-03-31/functions/large/invocations HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Length: 2\r\n\r\n{}", address, d.token); err != nil {
					t.Fatal(err)
				}
			}
			for end := time.Now().Add(patience(time.Minute)); ran() != fmt.Sprint(before+deaf); {
				if time.Now().After(end) {
					t.Fatalf("%s of %d invocations ended: the others wait for clients that do not read", ran(), before+deaf)
				}
				time.Sleep(10 * time.Millisecond)
			}
			for range 20 {
				d.wantOutput("small", `{}`, `1`)
			}
			if code := d.stop(); code != 0 {
				t.Errorf("exit code %d\n%s", code, d.log)
			}
		})
	}
}

// TestDrainEnds: what runs for longer than the drain is cancelled, and its client
// hears of it; a second signal ends the service at once.
func TestDrainEnds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		drain   string
		signals int
	}{{"2s", 1}, {"30m", 2}} {
		t.Run(c.drain, func(t *testing.T) {
			d := startDaemon(t, "--drain", c.drain)
			d.create("slow", "import time\ndef handler(e, c):\n    time.sleep(800)\n", nil)
			answers := make(chan string, 1)
			go func() {
				r, err := http.NewRequestWithContext(context.Background(), "POST", d.url+"/v1/functions/slow/invoke", strings.NewReader(`{"event": {}, "timeout_ms": 800000}`))
				if err != nil {
					answers <- err.Error()
					return
				}
				answer, err := d.http.Do(r)
				if err != nil {
					answers <- err.Error()
					return
				}
				defer answer.Body.Close()
				b, _ := io.ReadAll(answer.Body)
				answers <- string(b)
			}()
			d.wantMetric("seuss_running", "1")
			for n := range c.signals {
				if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
					t.Fatal(err)
				}
				d.until("it drains", func() bool { return n > 0 || strings.Contains(d.log.String(), "draining") })
			}
			select {
			case <-d.exit:
				d.exit <- nil
			case <-time.After(patience(time.Minute)):
				t.Fatal("it does not end")
			}
			if answer := <-answers; c.signals == 1 && !strings.Contains(answer, "the service has ended") {
				t.Error(answer)
			}
		})
	}
}
