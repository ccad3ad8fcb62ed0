package tests

import (
	"os/exec"
	"testing"
)

// TestImageOfTwoRuntimes: of an image with two runtimes each has a base and imports of its own,
// from which its functions start; a runtime that it has not is refused by name.
func TestImageOfTwoRuntimes(t *testing.T) {
	t.Parallel()
	requireRuby(t)
	for _, name := range []string{"python3", "ruby"} {
		if exec.Command("dpkg-query", "-W", name).Run() != nil {
			t.Skipf("skipped without the Debian package %s: apt-get install %s", name, name)
		}
	}
	c := newCLI(t)
	c.want(0, "", "image", "build", "two", "--from", "debian:python3,ruby")
	type node struct {
		ID     string `json:"id"`
		Parent string `json:"parent"`
	}
	create := func(args ...string) node {
		t.Helper()
		return document[node](c, append([]string{"snapshot", "create", "--image", "two"}, args...)...)
	}
	show := func(id string) node { return document[node](c, "snapshot", "show", id) }
	first, python, ruby := create("--base"), create("--base", "--runtime", "python"), create("--base", "--runtime", "ruby")
	if first.ID == ruby.ID || first.ID != python.ID {
		t.Errorf("bases %s, of Python %s, of Ruby %s", first.ID, python.ID, ruby.ID)
	}
	c.failure(1, "node is wanted, image two has python", "snapshot", "create", "--base", "--image", "two", "--runtime", "node")
	c.failure(1, `runtime "cobol" is not one of`, "snapshot", "create", "--base", "--image", "two", "--runtime", "cobol")
	for _, f := range []struct {
		base                node
		runtime, file, code string
	}{
		{python, "python", "main.py", "import sys\ndef handler(event, context):\n    return 'json' in sys.modules\n"},
		{ruby, "ruby", "main.rb", "def handler(event:, context:) = defined?(JSON) != nil\n"},
	} {
		made := create("--import", "json", "--runtime", f.runtime)
		if made.Parent != f.base.ID {
			t.Errorf("%s: import node %+v, base %s", f.runtime, made, f.base.ID)
		}
		deployed := document[node](c, "function", "deploy", f.runtime, c.file(f.file, f.code), "--image", "two", "--runtime", f.runtime, "--import", "json")
		if parent := show(deployed.ID).Parent; parent != made.ID {
			t.Errorf("%s: the function's parent is %s, not %s", f.runtime, parent, made.ID)
		}
		c.want(0, "true", "invoke", f.runtime)
	}
}
