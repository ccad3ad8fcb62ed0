package tests

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"seuss/dispatcher"
	"seuss/dispatcher/capacity"
	"seuss/vmm/vmmtest"
)

// gateSource waits until the host says something on port 7000.
const gateSource = `
import socket

def handler(event, context):
    with socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM) as s:
        s.connect((2, 7000))
        s.recv(1)
    return event["n"]
`

// counts are what the daemon has of what there is a certain number of.
func (d *daemon) counts() (mappings, descriptors, threads int) {
	d.Helper()
	maps, err1 := os.ReadFile(fmt.Sprintf("/proc/%d/maps", d.cmd.Process.Pid))
	fds, err2 := os.ReadDir(fmt.Sprintf("/proc/%d/fd", d.cmd.Process.Pid))
	tasks, err3 := os.ReadDir(fmt.Sprintf("/proc/%d/task", d.cmd.Process.Pid))
	if err1 != nil || err2 != nil || err3 != nil {
		d.Fatal(err1, err2, err3)
	}
	return bytes.Count(maps, []byte("\n")), len(fds), len(tasks)
}

// TestManyMachines: so many machines that each run an instance at the same time start under
// the host's own limits, take 50 mappings of the daemon each at most, are told of without
// delay, and answer; the daemon then ends as it should. SEUSS_SCALE is how many, or as many
// as this host's limits have room for.
func TestManyMachines(t *testing.T) {
	machines := 60
	if s := os.Getenv("SEUSS_SCALE"); s != "" {
		var err error
		if machines, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
		room := capacity.New(capacity.Host{}.Limits(), vmmtest.Require(t).Capabilities().Machine)
		if fits := room.Fits(); fits >= 0 && fits < machines {
			t.Logf("%d machines fit, not %d: %s", fits, machines, room.Describe())
			machines = fits
		}
	}
	dir := shortDir(t)
	gate := listenHost(t, dir, 7000)
	waiting := make(chan net.Conn, machines)
	go func() {
		for {
			c, err := gate.Accept()
			if err != nil {
				return
			}
			waiting <- c
		}
	}()
	n := strconv.Itoa(machines)
	d := startDaemon(t, "--machines", n, "--queue", n, "--function-queue", n, "--max-wait", "30m", "--target-wait", "30m", "--memory", "1TiB", "--window", "30m",
		"--vsock-dir", dir, "--host-ports", "7000")
	d.create("gate", gateSource, func(in *lambda.CreateFunctionInput) { in.Timeout = aws.Int32(900) })
	mappings, descriptors, threads := d.counts()
	began := time.Now()
	var answers sync.WaitGroup
	for i := range machines {
		answers.Go(func() {
			body := fmt.Sprintf(`{"event": {"n": %d}, "timeout_ms": 900000}`, i)
			resp, err := d.http.Post(d.url+"/v1/functions/gate/invoke", "application/json", strings.NewReader(body))
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			b, err := io.ReadAll(resp.Body)
			if want := fmt.Sprintf(`"output":%d`, i); err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(strings.ReplaceAll(string(b), " ", ""), want) {
				t.Errorf("%d: %s %.300s, %v", i, resp.Status, b, err)
			}
		})
	}
	var inside []net.Conn
	for len(inside) < machines {
		select {
		case c := <-waiting:
			inside = append(inside, c)
		case <-time.After(patience(2 * time.Minute)):
			t.Fatalf("%d of %d instances run", len(inside), machines)
		}
	}
	started := time.Since(began)
	m, f, th := d.counts()
	each := func(after, before int) float64 { return float64(after-before) / float64(machines) }
	scrape := time.Now()
	if got := d.metric("seuss_running"); got != n {
		t.Errorf("%s run", got)
	}
	took := time.Since(scrape)
	var pools []dispatcher.PoolStats
	d.get("/v1/pools", &pools)
	if len(pools) != 1 || pools[0].Machines != machines || pools[0].Free != 0 {
		t.Errorf("%+v", pools)
	}
	t.Logf("%d machines in %v; each %.1f mappings, %.1f descriptors, %.2f threads; a scrape took %v", machines, started.Round(time.Millisecond),
		each(m, mappings), each(f, descriptors), each(th, threads), took.Round(time.Microsecond))
	if each(m, mappings) > 50 {
		t.Errorf("%d mappings, %d before", m, mappings)
	}
	if each(f, descriptors) > 16 { // connections of its client and to the gate are among them
		t.Errorf("%d descriptors, %d before", f, descriptors)
	}
	if each(th, threads) > 2.5 { // under KVM one that runs it, and one that runs goroutines meanwhile
		t.Errorf("%d threads, %d before", th, threads)
	}
	for _, c := range inside {
		c.Close()
	}
	answers.Wait()
	ended := time.Now()
	if code := d.stop(); code != 0 {
		t.Errorf("it ends with %d", code)
	}
	t.Logf("it ended within %v", time.Since(ended).Round(time.Millisecond))
}

// TestTooManyMachines: what does not fit is refused when it starts, with the limit and how
// to raise it.
func TestTooManyMachines(t *testing.T) {
	c := newCLI(t)
	c.state = treeCopy(t)
	c.failure(1, "10000000 machines do not fit, ", "serve", "--listen", "127.0.0.1:0", "--machines", "10000000")
}
