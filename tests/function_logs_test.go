package tests

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"seuss/dispatcher/events"
	"seuss/dispatcher/logs"
)

// logged waits until a function's log has n entries of a kind.
func (d *daemon) logged(function string, kind logs.Kind, n int) (found []logs.Entry) {
	d.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		var list []logs.Entry
		d.get("/v1/functions/"+function+"/logs", &list)
		found = nil
		for _, e := range list {
			if e.Kind == kind {
				found = append(found, e)
			}
		}
		if len(found) >= n {
			return found
		}
	}
	d.Fatalf("%s has %d entries of kind %s: %+v", function, len(found), kind, found)
	return nil
}

// TestFunctionLogs: what a function prints and does wrong, as it is loaded, invoked and
// given an event, is in its own log and in no other, with the request; the command prints
// it with and without a daemon, after a kill -9 too; a function that is removed and made
// anew has none of it.
func TestFunctionLogs(t *testing.T) {
	t.Parallel()
	d := startDaemon(t)
	source := func(mark string) string {
		return fmt.Sprintf("import sys\nprint('loading %[1]s')\ndef handler(e, c):\n    print('out %[1]s', e['n'])\n    print('err %[1]s', file=sys.stderr)\n    if e['n'] < 0: raise ValueError('bad %[1]s')\n    return 1\n", mark)
	}
	for _, mark := range []string{"alpha", "beta"} {
		d.create(mark, source(mark), nil)
		for n := range 5 {
			d.wantOutput(mark, fmt.Sprintf(`{"n": %d}`, n), "1")
		}
		if out, err := d.invoke(t.Context(), mark, `{"n": -1}`); err != nil || out.FunctionError == nil {
			t.Errorf("%+v, %v", out, err)
		}
		if _, err := d.aws.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: &mark, InvocationType: types.InvocationTypeEvent, Payload: []byte(`{"n": -2}`)}); err != nil {
			t.Fatal(err)
		}
	}
	for mark, other := range map[string]string{"alpha": "beta", "beta": "alpha"} {
		failed := d.logged(mark, logs.Event, 1)[0]
		invoked, loaded := d.logged(mark, logs.Invocation, 7), d.logged(mark, logs.Init, 1)
		if text := fmt.Sprint(loaded[0].Lines); !strings.Contains(text, "loading "+mark) {
			t.Error(text)
		}
		of := func(n int) logs.Entry { // answers leave before their entries are added: these may overtake each other
			for _, e := range invoked {
				if len(e.Lines) > 0 && e.Lines[0].Text == fmt.Sprintf("out %s %d\n", mark, n) {
					return e
				}
			}
			return logs.Entry{}
		}
		if e := of(-1).Error; e == nil || e.Type != "ValueError" || e.Message != "bad "+mark || len(e.Trace) == 0 {
			t.Errorf("%+v", e)
		}
		if e := of(0); len(e.RequestID) != 36 || e.Error != nil || fmt.Sprint(e.Lines) != fmt.Sprintf("[{stdout out %[1]s 0\n} {stderr err %[1]s\n}]", mark) {
			t.Errorf("%+v", e)
		}
		if failed.RequestID == "" || !strings.Contains(failed.Note, "attempt 1 of 3") {
			t.Errorf("%+v", failed)
		}
		out := d.want(0, "out "+mark+" 0", "function", "logs", mark).stdout
		if strings.Contains(out, other) {
			t.Errorf("the log of %s has something of %s:\n%s", mark, other, out)
		}
		one := document[[]logs.Entry](d.cli, "function", "logs", mark, "--request", failed.RequestID, "--since", "1h")
		if len(one) != 2 || one[0].Error == nil || one[1].Kind != logs.Event {
			t.Errorf("%+v", one)
		}
		list := document[[]events.Status](d.cli, "function", "events", mark)
		if len(list) != 1 || list[0].State != events.Retry || list[0].RequestID != failed.RequestID || !strings.Contains(list[0].Error, "bad "+mark) {
			t.Errorf("%+v", list)
		}
	}
	before := d.want(0, "", "function", "logs", "alpha").stdout
	d.kill()
	if without := d.want(0, "", "function", "logs", "alpha").stdout; without != before {
		t.Errorf("without a daemon:\n%s\nwith one:\n%s", without, before)
	}
	d.want(0, "bad alpha", "function", "events", "alpha")
	d.failure(1, "unknown function", "function", "logs", "nobody")
	d.failure(2, "--follow", "function", "logs", "alpha", "--follow")
	d.start()
	if again := d.want(0, "", "function", "logs", "alpha").stdout; !strings.HasPrefix(again, before) {
		t.Errorf("after a restart:\n%s\nwant\n%s", again, before)
	}
	d.want(0, "removed", "function", "rm", "alpha")
	d.failure(1, "unknown function", "function", "logs", "alpha")
	d.create("alpha", "def handler(e, c):\n    return 2\n", nil)
	if out := d.want(0, "", "function", "logs", "alpha").stdout; out != "" {
		t.Errorf("a new function has the log of an old one:\n%s", out)
	}
}

// TestFollowLogs: server-sent events bring what is there and what comes; a follower that
// does not read holds nobody up: it is left behind, and told so.
func TestFollowLogs(t *testing.T) {
	t.Parallel()
	d := startDaemon(t)
	d.create("talk", "def handler(e, c):\n    print('x' * e.get('bytes', 0), e.get('n'))\n    return 1\n", nil)
	d.wantOutput("talk", `{"n": 0}`, "1")
	d.logged("talk", logs.Invocation, 1)
	idle, err := d.http.Get(d.url + "/v1/functions/talk/logs?follow=true")
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Body.Close()
	if idle.StatusCode != http.StatusOK {
		t.Fatal(idle.Status)
	}
	cmd, stdout, stderr := d.command("", "--json", "function", "logs", "talk", "-f")
	out, w := io.Pipe()
	cmd.Stdout = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cmd.Process.Kill()
		out.Close()
		cmd.Wait()
	}()
	dec := json.NewDecoder(out)
	last := uint64(0)
	for n := range 30 {
		var e logs.Entry
		if err := dec.Decode(&e); err != nil {
			t.Fatal(err, stdout, stderr)
		}
		if e.Seq <= last || len(e.Lines) != 1 || !strings.HasSuffix(e.Lines[0].Text, fmt.Sprintf(" %d\n", n)) {
			t.Fatalf("%d: %d after %d, %.200v", n, e.Seq, last, e.Lines)
		}
		last = e.Seq
		d.wantOutput("talk", fmt.Sprintf(`{"n": %d, "bytes": 1000000}`, n+1), "1")
	}
	d.wantOutput("talk", "{}", "1")
	all, err := io.ReadAll(idle.Body)
	if end := all[max(0, len(all)-200):]; err != nil || !strings.Contains(string(end), "event: end") || !strings.Contains(string(end), logs.ErrSlow.Error()) {
		t.Errorf("a follower that does not read was sent %d bytes, and at the end %q, %v", len(all), end, err)
	}
	if d.metric(`seuss_function_logs_total{entries="lost"}`) != "0" {
		t.Error("entries are lost")
	}
}
