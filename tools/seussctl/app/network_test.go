package app

import (
	"errors"
	"strings"
	"testing"

	"seuss/dispatcher"
	"seuss/dispatcher/api"
	"seuss/tools/seussctl/cmdline"
)

// TestAllowNet: the list reaches the dispatcher, and the command says what it kept
// a function from.
func TestAllowNet(t *testing.T) {
	fake := &fakeEngine{result: &dispatcher.Result{Output: []byte("1"), NetworkRefused: map[string]uint32{"192.0.2.9:443": 2, "name example.net": 1}}}
	for _, c := range []struct {
		args    string
		allowed bool
	}{
		{"invoke f", false},
		{"invoke f --allow-net example.com:443 --allow-net [2001:db8::/32]:*", true},
		{"snapshot create f", false},
		{"snapshot create f --allow-net example.com:443", true},
	} {
		var got dispatcher.Options
		code := api.ExitOK
		if fake.err = nil; strings.HasPrefix(c.args, "snapshot") {
			fake.err, code = errors.New("not taken, this is a test of options"), api.ExitFailure
		}
		out := command(t, t.TempDir(), "", func(o dispatcher.Options) (cmdline.Service, error) {
			got = o
			return fake, nil
		}, strings.Fields(c.args)...)
		if out.code != code || (got.Network != nil) != c.allowed {
			t.Errorf("%s: exit %d, network %v; %s", c.args, out.code, got.Network, out.stderr)
		}
		if strings.HasPrefix(c.args, "invoke") && !strings.Contains(out.stderr, "not allowed to reach: 192.0.2.9:443 (2), name example.net (1)") {
			t.Errorf("%s: %q", c.args, out.stderr)
		}
	}
}
