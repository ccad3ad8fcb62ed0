package tests

import (
	"archive/tar"
	"compress/gzip"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// wheel writes a package as a wheel and returns its path.
func wheel(t *testing.T, dir, name, code string, requires ...string) string {
	t.Helper()
	info := name + "-1.0.dist-info/"
	meta := "Metadata-Version: 2.1\nName: " + name + "\nVersion: 1.0\n"
	for _, r := range requires {
		meta += "Requires-Dist: " + r + "\n"
	}
	file := filepath.Join(dir, name+"-1.0-py3-none-any.whl")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	writeZip(t, file, map[string]string{
		name + "/__init__.py": code, info + "METADATA": meta, info + "WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
		info + "RECORD": name + "/__init__.py,,\n" + info + "METADATA,,\n" + info + "WHEEL,,\n" + info + "RECORD,,\n",
	})
	return file
}

// archive writes files as a .tar.gz below a folder.
func archive(t *testing.T, file, folder string, files map[string]string) {
	t.Helper()
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z := gzip.NewWriter(f)
	w := tar.NewWriter(z)
	for name, text := range files {
		err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: folder + "/" + name, Size: int64(len(text)), Mode: 0o644})
		if err == nil {
			_, err = w.Write([]byte(text))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, err := range []error{w.Close(), z.Close()} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestRequirements: wheels are installed and nothing of them is run; a package is a layer
// by its files, whoever asks for it; one of the same version with other files is met by who
// asked for it alone.
func TestRequirements(t *testing.T) {
	t.Parallel()
	if exec.Command("python3", "-c", "import pip").Run() != nil {
		t.Skip("python3 has no pip")
	}
	c := newCLI(t)
	c.state = copyState(t)
	dir := t.TempDir()
	good, poisoned := filepath.Join(dir, "good"), filepath.Join(dir, "poisoned")
	wheel(t, good, "dep", "WHO = 'good'\n")
	wheel(t, good, "app", "import dep\nWHO = 'app with ' + dep.WHO\n", "dep>=1.0")
	wheel(t, poisoned, "dep", "WHO = 'poisoned'\n")
	write := func(name, text string) string {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return file
	}
	asksApp, asksDep := write("requirements.txt", "app==1.0  # and what it needs\n"), write("requirements-dep.txt", "dep==1.0\n")
	code := write("main.py", "import importlib.metadata, dep\ndef handler(e, c):\n    return [dep.WHO, dep.__file__, importlib.metadata.version('dep')]\n")
	appCode := write("app_main.py", "import app\ndef handler(e, c):\n    return app.WHO\n")
	deploy := func(name, code, file, links string) {
		t.Helper()
		c.want(0, name, "function", "deploy", name, code, "--requirements", file, "--find-links", links)
	}
	answer := func(name, want string) {
		t.Helper()
		if r := c.want(0, "", "invoke", name); strings.TrimSpace(r.stdout) != want {
			t.Errorf("%s answers %s, want %s", name, r.stdout, want)
		}
	}
	layers := func() int {
		list, err := filepath.Glob(filepath.Join(c.state, "images", "layers", "*.layer"))
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	deploy("whole", appCode, asksApp, good)
	before := layers()
	deploy("part", code, asksDep, good)
	if now := layers(); now != before {
		t.Errorf("dep is stored again, whoever asked for it: %d layers, then %d", before, now)
	}
	deploy("victim", code, asksDep, poisoned)
	if now := layers(); now != before+1 {
		t.Errorf("dep with other files: %d layers, then %d", before, now)
	}
	const site = "/opt/python/lib/python3.11/site-packages/dep/__init__.py"
	answer("victim", `["poisoned", "`+site+`", "1.0"]`)
	answer("part", `["good", "`+site+`", "1.0"]`)
	answer("whole", `"app with good"`)
	deploy("part", code, asksDep, good)
	answer("part", `["good", "`+site+`", "1.0"]`)

	c.want(0, "withdep", "image", "build", "withdep", "--no-numpy", "--requirements", asksDep, "--find-links", good)
	c.want(0, "", "function", "deploy", "inimage", code, "--image", "withdep")
	answer("inimage", `["good", "`+site+`", "1.0"]`)

	// What would have to be run to be installed is refused, and is not run.
	marker := filepath.Join(dir, "marker")
	setup := fmt.Sprintf("open(%q, 'w').close()\nfrom setuptools import setup\nsetup(name='src', version='1.0')\n", marker)
	archive(t, filepath.Join(good, "src-1.0.tar.gz"), "src-1.0", map[string]string{"setup.py": setup, "PKG-INFO": "Metadata-Version: 1.0\nName: src\nVersion: 1.0\n"})
	wheel(t, good, "sly", "", "src @ file://"+filepath.Join(good, "src-1.0.tar.gz"))
	refused := func(words, text string) {
		t.Helper()
		r := c.want(1, words, "function", "deploy", "x", code, "--requirements", write("requirements-x.txt", text), "--find-links", good)
		if strings.Count(r.stderr, "\n") != 1 || r.stdout != "" {
			t.Errorf("%s: want one line\n%s", text, r.stderr)
		}
		if _, err := os.Stat(marker); err == nil {
			t.Fatalf("%s: what was fetched was run", text)
		}
	}
	refused("src", "src\n")
	refused("only wheels are taken", "sly\n")
	refused("only wheels are taken", "dep\n--no-binary=:all:\n")
	refused("line 1", "-e "+dir+"\n")
	refused("line 1", "src @ file://"+good+"/src-1.0.tar.gz\n")
	refused("line 2", "dep\ngit+https://example.com/x.git#egg=x.whl\n")
	refused("line 1", "./src-1.0.tar.gz\n")
	refused("nothere", "nothere\n")
	c.failure(2, "want a file called", "function", "deploy", "x", code, "--requirements", code)
	c.failure(2, "--find-links is for", "function", "deploy", "x", code, "--find-links", good)
	c.failure(1, "want a directory", "function", "deploy", "x", code, "--requirements", asksDep, "--find-links", code)

	r := c.run("", "function", "deploy", "real", write("six_main.py", "import six\ndef handler(e, c):\n    return six.__version__\n"), "--requirements", write("requirements-six.txt", "six==1.16.0\n"))
	if r.code != 0 {
		t.Logf("no index to take a package from: %s", r.stderr)
		return
	}
	answer("real", `"1.16.0"`)
}

// TestNodeRequirements: packages of npm are layers, and their scripts are run only if that
// is allowed.
func TestNodeRequirements(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("npm"); err != nil {
		t.Skip("there is no npm")
	}
	requireNode(t)
	c := newCLI(t)
	dir := t.TempDir()
	marker := filepath.Join(dir, "marker")
	archive(t, filepath.Join(dir, "dep-1.0.0.tgz"), "package", map[string]string{
		"package.json": fmt.Sprintf(`{"name": "dep", "version": "1.0.0", "main": "index.js", "scripts": {"postinstall": "touch %s"}}`, marker),
		"index.js":     "exports.who = 'dep';\n",
	})
	file := filepath.Join(dir, "package.json")
	for name, text := range map[string]string{
		file: `{"name": "f", "dependencies": {"dep": "file:dep-1.0.0.tgz"}, "scripts": {"install": "touch ` + marker + `"}}`, filepath.Join(dir, "main.mjs"): "import dep from 'dep';\nexport const handler = async () => dep.who;\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	code := filepath.Join(dir, "main.mjs")
	c.want(0, "f", "function", "deploy", "f", code, "--requirements", file)
	if r := c.want(0, "", "invoke", "f"); strings.TrimSpace(r.stdout) != `"dep"` {
		t.Errorf("f answers %s", r.stdout)
	}
	if _, err := os.Stat(marker); err == nil {
		t.Error("a package's script was run")
	}
	c.want(0, "f", "function", "deploy", "f", code, "--requirements", file, "--allow-scripts")
	if _, err := os.Stat(marker); err != nil {
		t.Errorf("a script that is allowed: %v", err)
	}
	if err := os.WriteFile(file, []byte(`{"dependencies": {"x": "git+https://example.com/x.git"}}`), 0o644); err != nil {
		t.Fatal(err)
	}
	c.failure(1, "want a version of the registry", "function", "deploy", "f", code, "--requirements", file)
	c.failure(2, "takes archives that its file names", "function", "deploy", "f", code, "--requirements", file, "--find-links", dir)
	if err := os.WriteFile(file, []byte(`{"dependencies": {"ms": "2.1.3"}}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(code, []byte("import ms from 'ms';\nexport const handler = async () => ms('2 days');\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if r := c.run("", "function", "deploy", "real", code, "--requirements", file); r.code != 0 {
		t.Logf("no registry to take a package from: %s", r.stderr)
	} else if r := c.want(0, "", "invoke", "real"); strings.TrimSpace(r.stdout) != "172800000" {
		t.Errorf("real answers %s", r.stdout)
	}
}
