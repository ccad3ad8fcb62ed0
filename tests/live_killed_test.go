package tests

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"seuss/dispatcher/instances"
)

// tell has an instance of a daemon run code. An error is of one that was not there to answer.
func (d *daemon) tell(name, code string) (value string, err error) {
	body, _ := json.Marshal(instances.Call{Code: &code})
	resp, err := d.http.Post(d.url+"/v1/instances/"+name+"/exec", "application/json", strings.NewReader(string(body)))
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	var a instances.Answer
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %.300s", resp.Status, b)
	}
	return string(a.Value), json.Unmarshal(b, &a)
}

// TestLiveInstancesOutliveTheDaemon: a durable instance has, when the daemon has died in the
// middle of what it was asked for, all that was answered; commands without a daemon leave it
// alone; what has a name comes back when the daemon has ended in order, and what was lost is
// said to be.
func TestLiveInstancesOutliveTheDaemon(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, "--machines", "2")
	want := func(name, code, value string) {
		t.Helper()
		if got, err := d.tell(name, code); err != nil || got != value {
			t.Fatalf("%s: %s: %s, %v; want %s", name, code, got, err, value)
		}
	}
	d.want(0, "kept", "instance", "create", "--image", "python", "--name", "kept", "--durable")
	d.want(0, "named", "instance", "create", "--image", "python", "--name", "named")
	want("kept", "import random\nx = 0", "null")
	want("named", "y = 1\ny", "1")
	answered := 0
	for round := range 3 {
		client := d.http
		died := make(chan struct{})
		for n := 0; ; n++ {
			if n == 3 {
				go func() { // while it is asked for something, or just after
					defer close(died)
					time.Sleep(time.Duration(7*round) * time.Millisecond)
					d.cmd.Process.Kill()
				}()
			}
			value, err := d.tell("kept", "x += 1\nx")
			if err != nil && n < 3 {
				t.Fatal(err)
			} else if err != nil {
				break
			}
			if answered, err = strconv.Atoi(value); err != nil {
				t.Fatal(err)
			}
		}
		<-died
		client.CloseIdleConnections()
		d.kill()
		d.want(0, "", "snapshot", "gc") // an instance of nobody's
		d.want(0, "", "function", "ls")
		d.start()
		value, err := d.tell("kept", "x")
		if now, _ := strconv.Atoi(value); err != nil || now != answered && now != answered+1 {
			t.Fatalf("%s, %v; %d was answered", value, err, answered)
		}
		if _, err := d.tell("named", "y"); err == nil || !strings.Contains(err.Error(), "ended with the service") {
			t.Fatalf("what was not durable: %v", err)
		}
	}
	var list []instances.Info
	d.get("/v1/instances", &list)
	if len(list) != 2 || list[1].Name != "named" || list[1].State != instances.Failed {
		t.Errorf("%+v", list)
	}
	d.want(0, "", "instance", "rollback", "named", list[1].Node)
	want("named", "y = 2\ny", "2")
	// What is paused durably is that until it goes on.
	d.want(0, "", "instance", "pause", "named", "--durable")
	d.kill()
	d.start()
	if d.get("/v1/instances", &list); list[1].State != instances.Paused {
		t.Errorf("%+v", list[1])
	}
	want("named", "y", "2")
	want("kept", "x = 'all of it'\nx", `"all of it"`)
	lost := document[instances.Info](d.cli, "instance", "create", "--image", "python")
	if code := d.stop(); code != 0 {
		t.Fatalf("exit code %d\n%s", code, d.log)
	}
	d.start()
	want("named", "y + 1", "3")
	want("kept", "x", `"all of it"`)
	if _, err := d.tell(lost.Name, "1"); err == nil || !strings.Contains(err.Error(), "ended with the service") {
		t.Errorf("what has no name: %v", err)
	}
	for _, name := range []string{"kept", "named", lost.Name} {
		d.want(0, "", "instance", "rm", name)
	}
	d.kill()
	d.start()
	if d.get("/v1/instances", &list); len(list) != 0 {
		t.Errorf("what was removed: %+v", list)
	}
}
