package tests

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"seuss/lineage"
)

// TestOwners runs a daemon with two owners: tokens count without a restart, each owner
// has a function hello of the same code, neither reaches the other's, and in the store
// nothing of one is the other's.
func TestOwners(t *testing.T) {
	t.Parallel()
	d := startDaemon(t)
	secret := map[string]string{}
	for _, owner := range []string{"alice", "bob"} {
		r := d.want(0, "", "token", "create", owner+"-ci", "--owner", owner)
		secret[owner] = strings.TrimSpace(r.stdout)
	}
	ask := func(owner, method, path, body string) (int, string) {
		t.Helper()
		r, err := http.NewRequest(method, d.url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+secret[owner])
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		b, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, string(b)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if status, _ := ask("bob", "GET", "/v1/functions", ""); status == http.StatusOK {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a new token does not count")
		}
	}
	// base64 of: def handler(event, context): return context.invoked_function_arn
	code := `{"handler":"main.handler","files":{"main.py":"ZGVmIGhhbmRsZXIoZXZlbnQsIGNvbnRleHQpOiByZXR1cm4gY29udGV4dC5pbnZva2VkX2Z1bmN0aW9uX2Fybgo="}}`
	for owner := range secret {
		if status, body := ask(owner, "PUT", "/v1/functions/hello", code); status != http.StatusCreated {
			t.Fatal(status, body)
		}
	}
	outputs := map[string]bool{}
	for owner := range secret {
		status, body := ask(owner, "POST", "/2015-03-31/functions/hello/invocations", `{}`)
		if status != http.StatusOK || !strings.HasSuffix(body, `:function:hello"`) || outputs[body] {
			t.Errorf("%s: %d %s", owner, status, body)
		}
		outputs[body] = true
	}
	for path, want := range map[string]int{"/v1/functions/bob%2Fhello": 404, "/v1/functions/hello": 200, "/metrics": 403, "/v1/pools": 403} {
		if status, body := ask("alice", "GET", path, ""); status != want {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	if _, body := ask("alice", "GET", "/v1/snapshots", ""); strings.Contains(body, "bob") || strings.Contains(body, "victim") || !strings.Contains(body, `"function":"hello"`) {
		t.Errorf("alice is shown %.2000s", body)
	}
	d.want(0, "alice/hello", "function", "ls")
	d.want(0, "arn:aws:lambda", "invoke", "bob/hello")
	s, err := lineage.Open(d.state, lineage.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	alice, bob := s.Function("alice/hello"), s.Function("bob/hello")
	if len(alice) != 1 || len(bob) != 1 || alice[0].ID == bob[0].ID || alice[0].Parent != bob[0].Parent || alice[0].Key.CodeDigest != bob[0].Key.CodeDigest {
		t.Fatalf("nodes %v and %v", alice, bob)
	}
	for _, n := range []*lineage.Node{alice[0], bob[0]} {
		if donors, err := s.Inspect().Donors(n); err != nil || len(donors) > 0 {
			t.Errorf("%s has pages in %v, %v", n.Key.Function, donors, err)
		}
	}
	d.want(0, "alice-ci", "token", "ls")
	d.want(0, "", "token", "rm", "alice-ci")
	if status, body := ask("alice", "GET", "/v1/functions", ""); status != http.StatusUnauthorized {
		t.Errorf("a token that was taken back: %d %s", status, body)
	}
	d.failure(1, "unknown token", "token", "rm", "alice-ci")
	d.failure(1, "right", "token", "create", "x", "--rights", "fly")
}
