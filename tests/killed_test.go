package tests

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/smithy-go"

	"seuss/dispatcher"
	"seuss/tests/attacks"
)

// killedDaemon is a daemon that is killed again and again, and what it has promised
// until then.
type killedDaemon struct {
	*daemon
	rng     *rand.Rand
	layout  string             // an OCI layout with a snapshot
	values  map[string]string  // what a function answers; absent: it was removed
	open    map[string]*string // what was asked for when the daemon went, unanswered; nil: to be removed
	events  []string           // ids that were accepted
	logs    string             // of all daemons that are gone
	imports int                // that were done
}

// deploys deploys and removes functions until the daemon is gone.
func (k *killedDaemon) deploys(rng *rand.Rand, to *attacks.Target) {
	for n := 0; ; n++ {
		name := fmt.Sprintf("k%d", rng.IntN(5))
		if _, there := k.values[name]; there && rng.IntN(3) == 0 {
			k.open[name] = nil
			status, body, err := to.Call("DELETE", "/v1/functions/"+name, nil)
			if err != nil {
				return
			}
			if status != http.StatusNoContent && status != http.StatusOK {
				k.Errorf("remove %s: %d %.300s", name, status, body)
				return
			}
			delete(k.values, name)
			delete(k.open, name)
			continue
		}
		value := fmt.Sprintf("%q", fmt.Sprint(name, ".", rng.Uint32()))
		k.open[name] = &value
		status, body, err := to.Call("PUT", "/v1/functions/"+name, dispatcher.FunctionSpec{Handler: "main.handler", Name: name,
			Files: map[string][]byte{"main.py": fmt.Appendf(nil, "def handler(event, context):\n    return %s\n", value)}})
		if err != nil {
			return
		}
		if status >= 300 {
			k.Errorf("deploy %s: %d %.300s", name, status, body)
			return
		}
		k.values[name] = value
		delete(k.open, name)
	}
}

// accepts sends events until the daemon is gone.
func (k *killedDaemon) accepts(client *lambda.Client) {
	for n := 0; ; n++ {
		out, err := client.Invoke(k.Context(), &lambda.InvokeInput{FunctionName: aws.String("steady"), InvocationType: types.InvocationTypeEvent, Payload: fmt.Appendf(nil, "%d", n)})
		var answered smithy.APIError
		if errors.As(err, &answered) { // there are too many
			time.Sleep(10 * time.Millisecond)
			continue
		}
		if err != nil {
			return
		}
		if id, ok := middleware.GetRequestIDMetadata(out.ResultMetadata); ok && out.StatusCode == 202 {
			k.events = append(k.events, id)
		}
	}
}

// collects collects garbage until the daemon is gone.
func (k *killedDaemon) collects(to *attacks.Target) {
	for {
		status, body, err := to.Call("POST", "/v1/gc", map[string]any{"unused_ms": 1})
		if err != nil {
			return
		}
		if status >= 300 {
			k.Errorf("gc: %d %.300s", status, body)
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// brings imports a snapshot until the daemon is gone.
func (k *killedDaemon) brings(to *attacks.Target) {
	for {
		cmd, stdout, stderr := k.command("", "snapshot", "import", "oci:"+k.layout)
		failed := cmd.Run()
		if status, _, err := to.Call("GET", "/v1/health", nil); err != nil || status != http.StatusOK {
			return // or the command would write the store itself
		}
		if failed != nil {
			k.Errorf("import: %v: %s%s", failed, stdout, stderr)
			return
		}
		k.imports++
	}
}

// checks holds a new daemon against what the one before has promised.
func (k *killedDaemon) checks() {
	k.Helper()
	to := k.attackOn()
	for n := range 5 {
		name := fmt.Sprintf("k%d", n)
		a, err := to.Invoke(name, "{}", patience(20*time.Second))
		if err != nil {
			k.Fatal(err)
		}
		want, there := k.values[name]
		asked, unanswered := k.open[name]
		was := there && a.Output == want || !there && a.Status == http.StatusNotFound
		is := unanswered && (asked == nil && a.Status == http.StatusNotFound || asked != nil && a.Output == *asked)
		if !was && !is {
			k.Errorf("%s answers %+v; %q was acknowledged (%v), unanswered is %v", name, a, want, there, asked)
		}
		delete(k.values, name)
		if a.Status == http.StatusOK {
			k.values[name] = a.Output
		}
	}
	clear(k.open)
	k.wantOutput("steady", `7`, `[7, 1]`)
	k.want(0, "", "snapshot", "verify")
}

// TestKilledAtRandom kills the daemon (SIGKILL) at random moments in which it deploys
// and removes functions, takes events, collects garbage and imports a snapshot. The
// next one has every function that was acknowledged, with its last code, has run every
// event that was accepted, and finds its store whole.
func TestKilledAtRandom(t *testing.T) {
	t.Parallel()
	kills, seed := 3, uint64(time.Now().UnixNano())
	if longAttacks {
		kills = 30
	}
	if text := os.Getenv("SEUSS_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("SEUSS_SEED=%d", seed)
	d := startDaemon(t, "--machines", "3", "--max-wait", "2m", "--target-wait", "2m")
	k := &killedDaemon{daemon: d, rng: rand.New(rand.NewPCG(seed, 0)), layout: filepath.Join(t.TempDir(), "layout"), values: map[string]string{}, open: map[string]*string{}}
	d.create("travels", "import colorsys\ndef handler(e, c):\n    return colorsys.rgb_to_hsv(1, 0, 0)\n", nil)
	d.create("steady", "calls = []\ndef handler(e, c):\n    calls.append(e)\n    return [e, len(calls)]\n", nil)
	for _, n := range document[[]item](d.cli, "snapshot", "ls", "--kind", "function") {
		if n.Key.Function == "travels" {
			d.want(0, "", "snapshot", "export", n.ID, "oci:"+k.layout)
		}
	}
	d.want(0, "removed", "function", "rm", "travels")
	for kill := range kills {
		var wg sync.WaitGroup
		to, client, rng := k.attackOn(), d.aws, rand.New(rand.NewPCG(seed, uint64(kill)+1))
		wg.Go(func() { k.deploys(rng, to) })
		wg.Go(func() { k.accepts(client) })
		wg.Go(func() { k.collects(to) })
		wg.Go(func() { k.brings(to) })
		time.Sleep(time.Duration(100+k.rng.IntN(1400)) * time.Millisecond)
		d.kill()
		wg.Wait()
		k.logs += d.log.String()
		d.start()
		k.checks()
		if t.Failed() {
			t.Fatalf("after kill %d of %d", kill+1, kills)
		}
	}
	k.attackOn().Until("all events are done", func() bool { return d.metric("seuss_events") == "0" })
	k.logs += d.log.String()
	ran := map[string]bool{}
	for line := range strings.Lines(k.logs) {
		if _, id, ok := strings.Cut(line, "request_id="); ok && strings.Contains(line, "msg=invocation") {
			ran[strings.Fields(id)[0]] = true
		}
	}
	lost := 0
	for _, id := range k.events {
		if !ran[id] {
			lost++
		}
	}
	t.Logf("%d kills, %d events accepted, %d imports", kills, len(k.events), k.imports)
	if lost > 0 || len(k.events) == 0 {
		t.Errorf("%d of %d events that were accepted never ran", lost, len(k.events))
	}
	if code := d.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
