package tests

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"seuss/dispatcher/cluster"
)

const whoSource = `import time
def handler(event, context):
    if event.get("raise"):
        raise ValueError("no")
    end = time.time() + event.get("busy", 0)
    while time.time() < end:
        pass
    print("ran")
    return context.aws_request_id
`

// TestClusterPassesOn: a cordoned member passes invocations on, with their ids, errors and
// output; one that has more to do than it can has others help; one that cannot reach anybody
// runs them itself; and one that ends while it runs one has it fail with what may be tried again.
func TestClusterPassesOn(t *testing.T) {
	t.Parallel()
	secret := secretFile(t)
	addresses := [2]string{freeAddress(t), freeAddress(t)}
	a := member(t, "a", secret, addresses[0], "")
	b := member(t, "b", secret, addresses[1], addresses[0])
	together(a, b)
	a.want(0, "who", "function", "deploy", "who", a.file("who.py", whoSource), "--timeout", "60s")
	counts := func(d *daemon) cluster.View { return document[cluster.View](d.cli, "cluster", "ls") }
	until := func(what string, f func() bool) {
		t.Helper()
		for end := time.Now().Add(patience(time.Minute)); !f(); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("never: %s", what)
			}
		}
	}
	if a.want(0, "", "invoke", "who"); counts(a).Passed != 0 {
		t.Error("a passes on what it has time for")
	}
	// While a is busy b helps.
	var long sync.WaitGroup
	for range 3 {
		long.Go(func() { a.want(0, "", "invoke", "who", "--event", `{"busy": 1}`) })
	}
	until("b helps", func() bool { return counts(b).Served > 0 })
	long.Wait()
	a.want(0, "", "cluster", "cordon", "a")
	before := counts(b).Served
	out, err := a.aws.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("who"), Payload: []byte(`{}`), LogType: "Tail"})
	if err != nil {
		t.Fatal(err)
	}
	if id, _ := middleware.GetRequestIDMetadata(out.ResultMetadata); !strings.Contains(string(out.Payload), id) || id == "" {
		t.Errorf("the function was told %s, the client %q", out.Payload, id)
	}
	if out.LogResult == nil {
		t.Error("without its output")
	}
	out, err = a.aws.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("who"), Payload: []byte(`{"raise": true}`)})
	if err != nil || aws.ToString(out.FunctionError) != "Unhandled" || !strings.Contains(string(out.Payload), "ValueError") {
		t.Errorf("%+v, %v", out, err)
	}
	if r, err := a.http.Post(a.url+"/2015-03-31/functions/who/invocations", "application/json", strings.NewReader(`nonsense`)); err != nil {
		t.Error(err)
	} else if r.Body.Close(); r.StatusCode != http.StatusBadRequest {
		t.Errorf("an event that is none: %d", r.StatusCode)
	}
	if n := counts(b).Served - before; n != 2 { // and has refused one
		t.Errorf("b has run %d", n)
	}
	// b is cordoned too: each runs what reaches it.
	a.want(0, "", "cluster", "cordon", "b")
	until("a sees it", func() bool { return a.members()["b"].Cordoned })
	a.want(0, "", "invoke", "who")
	a.want(0, "", "cluster", "uncordon", "b")
	until("a passes on again", func() bool {
		before := counts(a).Passed
		a.want(0, "", "invoke", "who")
		return counts(a).Passed > before
	})
	// b ends while it runs one of a's.
	failed := make(chan string, 1)
	go func() {
		answer, err := a.http.Post(a.url+"/2015-03-31/functions/who/invocations", "application/json", strings.NewReader(`{"busy": 50}`))
		if err != nil {
			failed <- err.Error()
			return
		}
		answer.Body.Close()
		failed <- http.StatusText(answer.StatusCode)
	}()
	until("b runs it", func() bool { return a.members()["b"].Load.Running > 0 })
	b.kill()
	if got := <-failed; got != http.StatusText(http.StatusServiceUnavailable) {
		t.Errorf("the invocation of a member that ended: %s", got)
	}
	a.want(0, "", "invoke", "who") // a runs it, cordoned or not
}
