package tests

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"seuss/lineage/sealed/sealedtest"
)

// TestNeighbours: another user of the host reads nothing that a daemon keeps, takes no
// lock and is served by no socket, in a state directory of this release and in one of
// an earlier one, which every user could read.
func TestNeighbours(t *testing.T) {
	t.Parallel()
	d := startDaemon(t)
	sealedtest.AsNobody(t, func() {}) // or skip
	d.create("secret", "def handler(e, c):\n    return 1\n", func(in *lambda.CreateFunctionInput) {
		in.Environment = &types.Environment{Variables: map[string]string{"DB_PASSWORD": "hunter2"}}
	})
	d.wantOutput("secret", `{}`, `1`)
	openParents(t, d.state)
	closed := func() {
		t.Helper()
		kinds := map[string]bool{}
		err := filepath.WalkDir(d.state, func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.Type()&fs.ModeSymlink != 0 {
				return err
			}
			kinds[filepath.Ext(path)] = true
			st, err := e.Info()
			if err == nil && st.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s has mode %o", path, st.Mode().Perm())
			}
			sealedtest.AsNobody(t, func() {
				if f, err := os.Open(path); !errors.Is(err, fs.ErrPermission) {
					f.Close()
					t.Errorf("a neighbour opens %s: %v", path, err)
				}
			})
			return err
		})
		if err != nil || !kinds[".node"] || !kinds[".img"] || !kinds[".json"] || !kinds[".db"] || !kinds[".sock"] {
			t.Errorf("%v, looked at %v", err, kinds)
		}
		sealedtest.AsNobody(t, func() {
			if c, err := net.Dial("unix", d.socket()); !errors.Is(err, fs.ErrPermission) {
				c.Close()
				t.Errorf("a neighbour connects: %v", err)
			}
		})
	}
	closed()
	open := func() { // as an earlier release did, or an operator
		t.Helper()
		err := filepath.WalkDir(d.state, func(path string, e fs.DirEntry, err error) error {
			if err == nil && e.Type()&fs.ModeSymlink == 0 {
				mode := fs.FileMode(0o644)
				if !e.Type().IsRegular() {
					mode = 0o777
				}
				err = os.Chmod(path, mode)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	open()
	// Whoever gets as far as the socket is refused by name.
	sealedtest.AsNobody(t, func() {
		c, err := net.Dial("unix", d.socket())
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		fmt.Fprint(c, "GET /v1/functions HTTP/1.1\r\nHost: seuss\r\nConnection: close\r\n\r\n")
		answer, err := io.ReadAll(c)
		if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 403 ") || !strings.Contains(string(answer), "user 65534 may not use this socket") {
			t.Errorf("%v: %s", err, answer)
		}
	})
	if code := d.stop(); code != 0 {
		t.Errorf("exit code %d\n%s", code, d.log)
	}
	var old *os.File
	sealedtest.AsNobody(t, func() { old, _ = os.Open(filepath.Join(d.state, "lock")) })
	defer old.Close()
	d.start()
	d.until("it notes it", func() bool { return strings.Contains(d.log.String(), "other users could use the state directory") })
	if n := strings.Count(d.log.String(), "other users could use the state directory"); n != 1 {
		t.Errorf("%d notes:\n%s", n, d.log)
	}
	closed()
	d.wantOutput("secret", `{}`, `1`)
	d.stop()
	d.start()
	if strings.Contains(d.log.String(), "other users") {
		t.Errorf("a note on a directory that was closed:\n%s", d.log)
	}
}

// socket is the daemon's own.
func (d *daemon) socket() string { return filepath.Join(d.state, "seuss.sock") }

// TestTokenOverTCP: an address is no use without the token that the daemon has made,
// once, and each API says so in its own words.
func TestTokenOverTCP(t *testing.T) {
	t.Parallel()
	d := startDaemon(t)
	if len(d.token) < 43 {
		t.Fatalf("a token of %d characters", len(d.token))
	}
	for _, c := range []struct {
		path, header string
		status       int
		text         string
	}{
		{"/v1/functions", "", 401, `"code":"unauthorized"`},
		{"/v1/functions", "Bearer " + d.token[1:], 401, `"code":"unauthorized"`},
		{"/v1/functions", "Bearer " + d.token, 200, `"name":"victim"`},
		{"/metrics", "", 403, "MissingAuthenticationTokenException"},
		{"/2015-03-31/functions", "", 403, "MissingAuthenticationTokenException"},
		{"/2015-03-31/functions", "Bearer x", 403, "UnrecognizedClientException"},
		{"/2015-03-31/functions", "Bearer " + d.token, 200, `"Functions"`},
	} {
		r, err := http.NewRequestWithContext(t.Context(), "GET", d.url+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if c.header != "" {
			r.Header.Set("Authorization", c.header)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if text := resp.Header.Get("X-Amzn-Errortype") + string(b); err != nil || resp.StatusCode != c.status || !strings.Contains(text, c.text) {
			t.Errorf("%s %.10q: %d %s %v, want %d %s", c.path, c.header, resp.StatusCode, text, err, c.status, c.text)
		}
		if want := c.status == 401; (resp.Header.Get("WWW-Authenticate") != "") != want {
			t.Errorf("%s: %v", c.path, resp.Header)
		}
	}
	if strings.Contains(d.log.String(), d.token) {
		t.Error("the log has the token")
	}
	// The commands need none: they have the socket.
	d.want(0, "", "function", "ls")
	first := d.token
	d.stop()
	d.start()
	if d.token != first {
		t.Error("the next daemon has another token")
	}
}

// TestEnv: AWS's own client works with what seussctl env prints.
func TestEnv(t *testing.T) {
	t.Parallel()
	d := startDaemon(t)
	got := d.want(0, "export AWS_ACCESS_KEY_ID=", "env")
	values := map[string]string{}
	for line := range strings.Lines(got.stdout) {
		name, value, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "export "), "=")
		values[name] = value
	}
	if values["AWS_REGION"] == "" || len(values) != 4 {
		t.Errorf("%v", values)
	}
	if _, err := newLambda(values["AWS_ENDPOINT_URL_LAMBDA"], values["AWS_SECRET_ACCESS_KEY"]).ListFunctions(t.Context(), &lambda.ListFunctionsInput{}); err != nil {
		t.Error(err)
	}
	d.want(0, `"AWS_SECRET_ACCESS_KEY": "`+d.token, "env", "--json")
	d.stop()
	d.failure(1, "seussctl serve", "env")
	d.args = []string{"--no-token"}
	d.start()
	if _, err := newLambda(d.url, "any").ListFunctions(t.Context(), &lambda.ListFunctionsInput{}); err != nil {
		t.Error(err)
	}
	d.want(0, "AWS_SECRET_ACCESS_KEY=none", "env")
	d.failure(2, "--no-token", "serve", "--no-token", "--token-file", "x")
	d.failure(2, "a token is required", "serve", "--no-token", "--listen", "0.0.0.0:0")
}
