package tests

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"seuss/dispatcher/state"
)

// TestStateCommands: what functions of a real daemon share is listed, read, written, watched and
// removed from the command line, byte by byte, and to another owner there is nothing.
func TestStateCommands(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, "--machines", "1")
	d.want(0, "", "function", "deploy", "one", d.file("main.py", sharing), "--share", "orders:rw")
	d.wantOutput("one", `{"do": "set", "with": {"key": "orders/a", "value": "from a function"}}`, `{"ok": 1}`)
	if got := d.want(0, "", "state", "get", "orders/a").stdout; got != "from a function" {
		t.Errorf("%q", got)
	}

	large := make([]byte, 2*state.MaxTransfer+100)
	for i := range large {
		large[i] = byte(i * 7 >> (i % 3))
	}
	path := filepath.Join(t.TempDir(), "large")
	if err := os.WriteFile(path, large, 0o600); err != nil {
		t.Fatal(err)
	}
	d.want(0, "wrote orders/x/../ä: 16 MiB, version ", "state", "put", "orders/x/../ä", path)
	d.want(0, "wrote "+path, "state", "get", "orders/x/../ä", "-o", path)
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, large) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if r := d.run("in\x00put", "state", "put", "orders/a", "-"); r.code != 0 {
		t.Errorf("%+v", r)
	}
	type value struct {
		Key     string
		Size    int64
		Version uint64
		Value   []byte
	}
	got := document[value](d.cli, "state", "get", "orders/a")
	if string(got.Value) != "in\x00put" || got.Size != 6 || got.Version == 0 {
		t.Errorf("%+v", got)
	}
	d.wantOutput("one", `{"do": "get", "with": {"key": "orders/a"}}`, `{"ok": "in\u0000put"}`)
	d.failure(1, "read it again", "state", "put", "orders/a", path, "--version", "1")
	d.failure(1, "SHARE/NAME", "state", "get", "orders")
	d.failure(1, "no such key", "state", "get", "orders/nothing", "-o", path)
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); err != nil || len(left) > 0 {
		t.Errorf("left beside it: %v, %v", left, err)
	}
	d.failure(2, "KEY FILE", "state", "put", "orders/a")
	if list := document[[]value](d.cli, "state", "ls", "orders"); len(list) != 2 || list[0].Key != "orders/a" || list[1].Size != int64(len(large)) {
		t.Errorf("%+v", list)
	}
	d.want(0, "16 MiB", "state", "ls")
	if got := d.want(0, "", "state", "ls", "-q", "orders/x").stdout; got != "orders/x/../ä\n" {
		t.Errorf("%q", got)
	}

	odd := []string{"orders/z \u200b$(x) *", "orders/z'\u0085"}
	for _, key := range odd {
		d.want(0, "", "state", "put", key, path)
	}
	if got := d.want(0, "", "state", "ls", "-q", "orders/z").stdout; got != "orders/z ·$(x) *\norders/z'·\n" {
		t.Errorf("%q", got)
	}
	if got := d.want(0, "", "state", "ls", "-0", "orders/z").stdout; got != strings.Join(odd, "\x00")+"\x00" {
		t.Errorf("%q", got)
	}
	d.want(0, "", append([]string{"state", "rm", "--"}, odd...)...)

	cmd, out, _ := d.command("", "state", "watch", "--once", "orders/a", "--json")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	d.until("the command waits", func() bool { return document[state.Stats](d.cli, "state", "stats").Waiting > 0 })
	d.wantOutput("one", `{"do": "large", "with": {"key": "orders/a", "size": 9}}`, `{"ok": 9}`)
	if err := cmd.Wait(); err != nil || !strings.Contains(out.String(), `"size": 9`) {
		t.Errorf("%v, %s", err, out)
	}

	d.want(0, "pushed orders/a", "state", "push", "orders/a")
	d.want(0, "orders/a\n", "state", "rm", "orders/a")
	d.failure(1, "no such key", "state", "get", "orders/a")
	if list := document[[]value](d.cli, "state", "ls", "--pushed"); len(list) != 1 || list[0].Key != "orders/a" || list[0].Size != 9 {
		t.Errorf("%+v", list)
	}
	d.want(0, "pulled orders/a", "state", "pull", "orders/a")
	d.want(0, "orders/a\n", "state", "rm", "--pushed", "orders/a")
	d.failure(1, "nothing of it was pushed", "state", "pull", "orders/a")
	d.want(0, "locks granted", "state", "stats")
	if st := document[state.Stats](d.cli, "state", "stats"); st.Keys != 2 || st.Bytes < int64(len(large)) || st.Pushes != 1 || st.Held != 0 {
		t.Errorf("%+v", st)
	}

	// Another owner.
	secret := strings.TrimSpace(d.want(0, "", "token", "create", "bob", "--owner", "bob", "--rights", "read,deploy,invoke").stdout)
	ask := func(method, path string) (int, string) {
		r, err := http.NewRequest(method, d.url+path, strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+secret)
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
	d.until("the token counts", func() bool { status, _ := ask("GET", "/v1/functions"); return status == http.StatusOK })
	for request, want := range map[string]string{
		"GET /v1/state":                `200 {"items":[]}`,
		"GET /v1/state?pushed=":        `200 {"items":[]}`,
		"GET /v1/state?prefix=orders/": `200 {"items":[]}`,
		"GET /v1/state/orders/a":       `404 `,
		"GET /v1/state/stats":          `200 {"keys":0,"bytes":0,`,
		"PUT /v1/state/orders/a":       `403 `,
		"POST /v1/state/orders/a":      `403 `,
		"DELETE /v1/state/orders/a":    `403 `,
		"DELETE /v1/push/orders/a":     `403 `,
		"POST /v1/pull/orders/a":       `403 `,
	} {
		method, path, _ := strings.Cut(request, " ")
		status, body := ask(method, path)
		if got := fmt.Sprint(status, " ", body); !strings.HasPrefix(strings.ReplaceAll(got, "\n", ""), want) {
			t.Errorf("%s: %.300s, want %s", request, got, want)
		}
	}
	d.stop()
	d.failure(1, "start seussctl serve", "state", "ls")
}
