package python

import (
	"strings"
	"testing"
)

// TestAsks: what a function's text imports is found wherever a statement may begin, and
// what stands in comments and strings is not.
func TestAsks(t *testing.T) {
	for text, want := range map[string]string{
		"import a":                                                          "a",
		"import a.b as c, d ,e.f":                                           "a.b d e.f",
		"from a.b import c as d, e":                                         "a.b",
		"from . import x\nfrom .y import z":                                 "",
		"def f():\n\timport a\n\tfrom b import *":                           "a b",
		"try: import a\nexcept: import b; import c":                         "a b c",
		"import a, \\\n  b\nfrom \\\n c import (d,\n import_)":              "a b c",
		"# import a\n'import b'\n\"\"\"\nimport c\n\"\"\"\nr'\\'\nimport d": "d",
		"x = (1,\nimport_a)\ny = {\n'k': 1}\nimport z":                      "z",
		"importlib.import_module('a.b')\n__import__(\"c\", x)":              "a.b c",
		"import_module(name)\nimport_module(":                               "",
		"f(\"\"\"import a\nimport b":                                        "",
		"x.import_ = 1\nimports = 2\nimport":                                "",
		"import münze\nimport 数据.x":                                         "münze 数据.x",
		"from a import b; from c import d":                                  "a c",
		"'not closed\nimport a":                                             "a",
		"\ufeffimport a":                                                    "a",
		"import " + strings.Repeat("a.", 200) + "a":                         "",
	} {
		if got := strings.Join(asks(map[string][]byte{"main.py": []byte(text), "import.txt": []byte("import no")}), " "); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// TestOwn: what a function brings goes before what the image has.
func TestOwn(t *testing.T) {
	files := map[string][]byte{"main.py": []byte("import yaml"), "lib/six.py": nil, "fast.cpython-311-x86_64-linux-gnu.so": nil}
	if got := strings.Join(own(files), " "); got != "fast lib main" {
		t.Errorf("%q", got)
	}
	files["main.py"] = []byte("import sys\nsys.path.insert(0, 'lib')")
	if got := strings.Join(own(files), " "); got != "fast lib main six" {
		t.Errorf("%q", got)
	}
}

func FuzzAsks(f *testing.F) {
	f.Add([]byte("import a.b as c\nfrom d import (e)\n'''x''' # y"))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, name := range asks(map[string][]byte{"m.py": text}) {
			if name == "" || len(name) > maxAskedName {
				t.Errorf("%q", name)
			}
		}
	})
}
