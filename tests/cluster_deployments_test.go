package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"seuss/dispatcher/cluster"
	"seuss/dispatcher/cluster/members"
)

// secretFile makes a cluster's.
func secretFile(t *testing.T) string {
	t.Helper()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.Chmod(filepath.Dir(secret), 0o755); err != nil {
		t.Fatal(err)
	}
	newCLI(t).want(0, "", "cluster", "secret", secret)
	return secret
}

// together waits until each sees all of them.
func together(all ...*daemon) {
	t := all[0]
	t.Helper()
	for end := time.Now().Add(patience(time.Minute)); ; time.Sleep(50 * time.Millisecond) {
		n := 0
		for _, d := range all {
			for _, m := range d.members() {
				if m.State == members.Here {
					n++
				}
			}
		}
		if n == len(all)*len(all) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("they never see each other: %+v", all[0].members())
		}
	}
}

// TestClusterDeployments: what is deployed, published, named and removed through any member all
// have, also the one that was killed meanwhile; two that deploy one name at once leave one
// function; and who comes with one of its own that the cluster has otherwise does not start.
func TestClusterDeployments(t *testing.T) {
	t.Parallel()
	secret := secretFile(t)
	addresses := [3]string{freeAddress(t), freeAddress(t), freeAddress(t)}
	a := member(t, "a", secret, addresses[0], "")
	b := member(t, "b", secret, addresses[1], addresses[0])
	c := member(t, "c", secret, addresses[2], addresses[1])
	together(a, b, c)
	says := func(d *daemon, text string) string {
		return d.file(fmt.Sprintf("f%d.py", time.Now().UnixNano()), fmt.Sprintf("def handler(event, context):\n    return %q\n", text))
	}
	answers := func(d *daemon, function, want string) {
		t.Helper()
		d.want(0, want, "invoke", function)
	}
	before := document[cluster.View](a.cli, "cluster", "ls").Deployments
	a.want(0, "hello", "function", "deploy", "hello", says(a, "one"))
	for _, d := range []*daemon{a, b, c} {
		answers(d, "hello", "one")
	}
	if _, err := b.aws.PublishVersion(t.Context(), &lambda.PublishVersionInput{FunctionName: aws.String("hello")}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.aws.CreateAlias(t.Context(), &lambda.CreateAliasInput{FunctionName: aws.String("hello"), Name: aws.String("live"), FunctionVersion: aws.String("1")}); err != nil {
		t.Fatal(err)
	}
	b.want(0, "hello", "function", "deploy", "hello", says(b, "two"))
	answers(a, "hello:live", "one")
	answers(a, "hello", "two")
	// At once: one after the other, and all have the same.
	var both sync.WaitGroup
	for _, d := range []*daemon{a, b} {
		both.Go(func() { d.run("", "function", "deploy", "race", says(d, "of "+d.args[5])) })
	}
	both.Wait()
	first := c.run("", "invoke", "race").stdout
	if !strings.Contains(first, "of a") && !strings.Contains(first, "of b") {
		t.Errorf("race: %s", first)
	}
	answers(a, "race", strings.TrimSpace(first))
	answers(b, "race", strings.TrimSpace(first))
	// While one is gone.
	c.kill()
	b.want(0, "later", "function", "deploy", "later", says(b, "later"))
	a.want(0, "", "function", "rm", "race")
	c.start()
	answers(c, "later", "later")
	answers(c, "hello:live", "one")
	c.failure(1, "unknown function", "invoke", "race")
	if v := document[cluster.View](c.cli, "cluster", "ls"); v.Deployments != before+3 || len(v.Conflicts) != 0 {
		t.Errorf("%d deployments, %+v", v.Deployments, v.Conflicts)
	}
	// The last one of three goes on.
	a.kill()
	b.kill()
	answers(c, "later", "later")
	c.want(0, "alone", "function", "deploy", "alone", says(c, "alone"))
	a.start() // which joins nobody by itself: it is found
	for end := time.Now().Add(patience(time.Minute)); !strings.Contains(a.run("", "invoke", "alone").stdout, "alone"); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("a, which has come back, never has what was deployed meanwhile")
		}
	}
	// One that comes with other code of a name.
	own := newCLI(t)
	own.state = treeCopy(t)
	own.want(0, "later", "function", "deploy", "later", says(a, "mine"))
	r := own.run("", "serve", "--listen", "127.0.0.1:0", "--machines", "1", "--cluster", "test", "--member", "d", "--cluster-secret", secret, "--cluster-listen", freeAddress(t), "--peer-listen", "127.0.0.1:0", "--join", addresses[0])
	if r.code == 0 || !strings.Contains(r.stderr, `deployed here, and otherwise in the cluster`) || !strings.Contains(r.stderr, "later") {
		t.Errorf("exit code %d: %s", r.code, r.stderr)
	}
}
