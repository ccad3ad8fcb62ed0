package tests

import (
	"archive/zip"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"seuss/dispatcher"
	"seuss/dispatcher/functions"
)

// surroundingsFunction tells what is around it.
const surroundingsFunction = `
import os, sys
AT_LOAD = {k: v for k, v in os.environ.items() if k.startswith(("AWS_", "LAMBDA_", "_HANDLER", "TZ", "LD_LIBRARY_PATH", "PATH", "PYTHONPATH", "OWN"))}
def handler(event, context):
    return {"load": AT_LOAD, "now": {k: os.environ.get(k) for k in AT_LOAD}, "cwd": os.getcwd(), "path": sys.path[:3], "memory": context.memory_limit_in_mb}
`

// TestLambdaSurroundings: the environment, the working directory and sys.path are those of
// AWS Lambda's documentation; a published version and a changed limit are seen at once.
func TestLambdaSurroundings(t *testing.T) {
	d := open(t, nil)
	deploy(t, d, "around", surroundingsFunction, func(s *dispatcher.FunctionSpec) {
		s.Settings = functions.Settings{MemoryMiB: 96, Environment: map[string]string{"OWN": "x", "AWS_DEFAULT_REGION": "eu-central-1"}}
	})
	type answer struct {
		Load, Now map[string]string
		Cwd       string
		Path      []string
		Memory    string
	}
	got := output[answer](t, invoke(t, d, "around", `{}`))
	for name, want := range map[string]string{
		"AWS_LAMBDA_FUNCTION_NAME": "around", "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "96",
		"AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "eu-central-1", "AWS_EXECUTION_ENV": "AWS_Lambda_python3.11", "_HANDLER": "main.handler",
		"LAMBDA_TASK_ROOT": "/var/task", "TZ": ":UTC", "LD_LIBRARY_PATH": "/var/task:/var/task/lib:/opt/lib",
		"PATH": "/usr/local/bin:/usr/bin:/bin:/opt/bin", "OWN": "x",
	} {
		if got.Load[name] != want || got.Now[name] != want {
			t.Errorf("%s is %q when the code is loaded, then %q, want %q", name, got.Load[name], got.Now[name], want)
		}
	}
	if got.Cwd != "/var/task" || len(got.Path) < 3 || got.Path[0] != "/var/task" || !strings.HasPrefix(got.Path[1], "/opt/python/lib/python3.") || got.Path[2] != "/opt/python" {
		t.Errorf("the working directory is %s, sys.path begins with %q", got.Cwd, got.Path)
	}
	version, err := d.Publish("around", "", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := output[answer](t, invoke(t, d, version.Name, `{}`)); got.Now["AWS_LAMBDA_FUNCTION_VERSION"] != "1" {
		t.Errorf("version 1 finds %q", got.Now["AWS_LAMBDA_FUNCTION_VERSION"])
	}
	if _, err := d.Configure("around", "", func(s *functions.Settings) { s.MemoryMiB = 128 }); err != nil {
		t.Fatal(err)
	}
	if got := output[answer](t, invoke(t, d, "around", `{}`)); got.Now["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] != "128" || got.Memory != "128" || got.Now["AWS_LAMBDA_FUNCTION_VERSION"] != "$LATEST" {
		t.Errorf("after the limit was changed: %+v", got.Now)
	}
	// Started from the base, where the code is loaded for one invocation.
	r, err := d.Invoke(context.Background(), dispatcher.Request{Function: "around", Event: []byte(`{}`), MaxPath: dispatcher.PathBase})
	if err != nil {
		t.Fatal(describe(err))
	}
	if got := output[answer](t, r); got.Load["AWS_LAMBDA_FUNCTION_NAME"] != "around" {
		t.Errorf("from the base: %v", got.Load)
	}
}

// systemFiles answers with what depends on files that no package of a function brings.
const systemFiles = `
import ctypes, datetime, hashlib, json, ssl, zoneinfo
def md4():
    try:
        return hashlib.new("md4", b"").hexdigest()
    except ValueError as e:
        return str(e)
def handler(event, context):
    zurich = zoneinfo.ZoneInfo("Europe/Zurich")
    before = md4()
    crypto = ctypes.CDLL("libcrypto.so.3")
    crypto.OSSL_PROVIDER_load.restype = ctypes.c_void_p
    loaded = [bool(crypto.OSSL_PROVIDER_load(None, name)) for name in (b"legacy", b"default", b"nothere")]
    return [str(datetime.datetime(2026, m, 1, tzinfo=zurich)) for m in (1, 7)] + [len(zoneinfo.available_timezones()),
        len(ssl.create_default_context().get_ca_certs()), before, loaded, md4()]
`

// TestSystemFiles: time zones, CA certificates and OpenSSL's modules are those of the host
// that the image is of, where the interpreter answers the same natively.
func TestSystemFiles(t *testing.T) {
	d := open(t, nil)
	deploy(t, d, "system-files", systemFiles, nil)
	got := compact(t, invoke(t, d, "system-files", `{}`).Output)
	out, err := exec.CommandContext(t.Context(), "/usr/bin/python3", "-c", systemFiles+"\nprint(json.dumps(handler({}, None)))").Output()
	if err != nil {
		t.Skip("no Python of the host's own to compare with")
	}
	if want := compact(t, out); got != want || !strings.Contains(got, "+01:00") {
		t.Errorf("in a guest %s\nnatively   %s", got, want)
	}
}

const layersFunction = `
import ctypes, json, os, sys
import inlayer, insite
def handler(event, context):
    return [inlayer.NAME, insite.NAME, open("/opt/data.txt").read(), os.access("/opt/bin/tool", os.X_OK), os.readlink("/opt/link"),
            os.path.exists("/opt/gone.txt"), sorted(os.listdir("/opt/lib")), os.path.getsize("/var/task/big/data.bin") if os.path.exists("/var/task/big") else 0]
`

// TestLayers: what layers bring lies below /opt and is found by the runtime; equal layers
// are one; of two the later lies above; code that is large is a layer itself; limits are
// AWS Lambda's.
func TestLayers(t *testing.T) {
	t.Parallel()
	c := newCLI(t)
	c.state = copyState(t)
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	write("one/python/inlayer.py", "NAME = 'one'", 0o644)
	write("one/python/lib/python3.11/site-packages/insite.py", "NAME = 'site'", 0o644)
	write("one/data.txt", "one", 0o644)
	write("one/lib/libone.so", "x", 0o644)
	write("one/bin/tool", "#!/bin/sh\n", 0o755)
	if err := os.Symlink("data.txt", filepath.Join(dir, "one/link")); err != nil {
		t.Fatal(err)
	}
	two := filepath.Join(dir, "two.zip")
	writeZip(t, two, map[string]string{"data.txt": "two", "lib/libtwo.so": "y"})
	write("code/main.py", layersFunction, 0o644)
	code, one := filepath.Join(dir, "code"), filepath.Join(dir, "one")
	c.want(0, "", "function", "deploy", "layered", code, "--layer", one, "--layer", two)
	answer := func(name, want string) {
		t.Helper()
		if r := c.want(0, "", "invoke", name); strings.ReplaceAll(strings.TrimSpace(r.stdout), " ", "") != want {
			t.Errorf("%s answers %s, want %s", name, r.stdout, want)
		}
	}
	answer("layered", `["one","site","two",true,"data.txt",false,["libone.so","libtwo.so"],0]`)
	images := func() int { return len(document[[]struct{ Digest string }](c, "image", "ls")) }
	before := images()
	c.want(0, "", "function", "deploy", "again", code, "--layer", one, "--layer", two)
	if now := images(); now != before {
		t.Errorf("the same layers make another image: %d, then %d", before, now)
	}
	c.want(0, "", "function", "deploy", "turned", code, "--layer", two, "--layer", one)
	answer("turned", `["one","site","one",true,"data.txt",false,["libone.so","libtwo.so"],0]`)

	write("code/big/data.bin", strings.Repeat("0123456789abcdef", 40<<20/16), 0o644)
	c.want(0, "", "function", "deploy", "large", code, "--layer", one, "--layer", two)
	answer("large", `["one","site","two",true,"data.txt",false,["libone.so","libtwo.so"],41943040]`)
	if f := document[struct {
		StoredBytes int64 `json:"stored_bytes"`
	}](c, "function", "show", "large"); f.StoredBytes > 10<<20 {
		t.Errorf("a function with 40 MiB of data stores %d bytes", f.StoredBytes)
	}

	write("huge/data.bin", "", 0o644)
	if err := os.Truncate(filepath.Join(dir, "huge/data.bin"), 250<<20); err != nil {
		t.Fatal(err)
	}
	write("huge/main.py", "def handler(e, c): pass", 0o644)
	c.failure(1, "(250 MiB) unpacked", "function", "deploy", "x", filepath.Join(dir, "huge"))
	c.failure(1, "are left: the code and all layers take at most 262144000 bytes", "function", "deploy", "x", code, "--layer", filepath.Join(dir, "huge"))
	if err := os.Truncate(two, 51<<20); err != nil {
		t.Fatal(err)
	}
	c.failure(1, "at most 52428800", "function", "deploy", "x", code, "--layer", two)
	c.failure(1, "at most 52428800 (50 MiB) are allowed zipped", "function", "deploy", "x", two)
	write("white/.wh.data.txt", "", 0o644)
	c.failure(1, "begins with .wh.", "function", "deploy", "x", code, "--layer", filepath.Join(dir, "white"))
	writeZip(t, filepath.Join(dir, "up.zip"), map[string]string{"../up.txt": ""})
	c.failure(1, "not a clean path", "function", "deploy", "x", code, "--layer", filepath.Join(dir, "up.zip"))
	c.failure(1, "want a directory or a .zip", "function", "deploy", "x", code, "--layer", filepath.Join(code, "main.py"))
	c.failure(2, "6 layers, at most 5", append([]string{"function", "deploy", "x", code}, strings.Fields(strings.Repeat("--layer x ", 6))...)...)
}

func writeZip(t *testing.T, name string, files map[string]string) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z := zip.NewWriter(f)
	for name, text := range files {
		w, err := z.Create(name)
		if err == nil {
			_, err = w.Write([]byte(text))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
}
