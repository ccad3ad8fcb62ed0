package cmdline

import (
	"encoding/json"
	"io"
	"testing"

	"github.com/urfave/cli/v2"
)

// TestReadBounds: flags become the request that changes a function, and what cannot be
// is a usage error.
func TestReadBounds(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string // JSON; "": refused
	}{
		{nil, `{}`},
		{[]string{"--allow-net", "a.example.com:443", "--allow-net", "10.0.0.0/8:*"}, `{"network":["a.example.com:443","10.0.0.0/8:*"]}`},
		{[]string{"--allow-net", "none", "--host-ports", "none"}, `{"network":[],"host_ports":[]}`},
		{[]string{"--allow-net", "any", "--host-ports", "any", "--limit-time", "any", "--limit-memory", "any", "--limit-output", "any", "--concurrency", "any"},
			`{"network":null,"host_ports":null,"timeout_s":0,"memory_mib":0,"output_bytes":0,"concurrency":null}`},
		{[]string{"--host-ports", "7000,7001", "--limit-time", "2m", "--limit-memory", "128MiB", "--limit-output", "64KiB", "--concurrency", "3"},
			`{"host_ports":[7000,7001],"timeout_s":120,"memory_mib":128,"output_bytes":65536,"concurrency":3}`},
		{[]string{"--allow-net", "none", "--allow-net", "a.example.com:443"}, ""},
		{[]string{"--allow-net", "a.example.com"}, ""},
		{[]string{"--host-ports", "x"}, ""},
		{[]string{"--limit-time", "1500ms"}, ""},
		{[]string{"--limit-time", "0"}, ""},
		{[]string{"--limit-memory", "100kB"}, ""},
		{[]string{"--limit-output", "2MiB"}, ""},
		{[]string{"--concurrency", "-1"}, ""},
	} {
		app := &cli.App{Name: "x", Flags: BoundsFlags(), DisableSliceFlagSeparator: true, Writer: io.Discard, ErrWriter: io.Discard, ExitErrHandler: func(*cli.Context, error) {}, Action: func(ctx *cli.Context) error {
			u, changed, err := ReadBounds(ctx)
			if err != nil {
				return err
			}
			if changed != (c.args != nil) {
				t.Errorf("%q: changed %v", c.args, changed)
			}
			got, err := json.Marshal(u)
			if err == nil && string(got) != c.want {
				t.Errorf("%q: %s, want %s", c.args, got, c.want)
			}
			return err
		}}
		if err := app.Run(append([]string{"x"}, c.args...)); (err != nil) != (c.want == "") {
			t.Errorf("%q: %v", c.args, err)
		}
	}
}
