package imports

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
)

// TestDriver: Python's driver tells what a load imports with its distribution, in order,
// with what was imported in it apart; afterwards the import system is as before.
func TestDriver(t *testing.T) {
	const python = "/usr/bin/python3"
	if _, err := os.Stat(python); err != nil {
		t.Skip("python3 is not installed")
	}
	dir := t.TempDir()
	for name, text := range map[string]string{
		"run.py": `
import sys
sys.path[:0] = [sys.argv[1], sys.argv[2]]
import _frozen_importlib, traceback, warnings
import imported
original = _frozen_importlib._find_and_load
many = int(sys.argv[3])
found = imported.distributions([sys.argv[2], "/no/such/directory"])
for _ in range(2):
    r = imported.Recorder()
    r.begin()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        import shop
    assert [w.filename for w in seen] == [__file__], seen
    try:
        import broken
    except ImportError as e:
        frames = traceback.extract_tb(e.__traceback__)
        assert [f.filename.rpartition("/")[2] for f in frames] == ["run.py", "broken.py"], frames
    import main
    for n in range(many):
        name = f"made.m{n}"
        __import__(name)
    r.end()
    assert _frozen_importlib._find_and_load is original
    import late
    answer = r.answer(found, {"main"})
    assert r.rows == [] and r.answer(found, set()) == b"{}"
    for name in ("shop", "shop.till", "money", "main", "late"):
        sys.modules.pop(name, None)
    many = 0
    first = locals().get("first", answer)
# What somebody else has put over the hook stays, and the hook does nothing any more.
r.begin()
inner = _frozen_importlib._find_and_load
_frozen_importlib._find_and_load = lambda *a: inner(*a)
r.end()
import money
assert r.rows == [] and _frozen_importlib._find_and_load is not original
sys.stdout.buffer.write(first)
`,
		"site/shop/__init__.py":                   "import warnings, money, shop.till\nwarnings.warn('old', DeprecationWarning, stacklevel=2)\n",
		"site/shop/till.py":                       "import time\ntime.sleep(0.01)\n",
		"site/money.py":                           "import time\ntime.sleep(0.02)\n",
		"site/broken.py":                          "import colorsys, not_there\n",
		"site/main.py":                            "",
		"site/late.py":                            "",
		"site/made/__init__.py":                   "",
		"site/The_Shop-2.0.dist-info/METADATA":    "Metadata-Version: 2.1\nName: The_Shop\nVersion: 2.0\nRequires-Dist: The.Money (>=1)\nRequires-Dist: none; extra == 'x'\n\nName: other\n",
		"site/The_Shop-2.0.dist-info/RECORD":      "shop/__init__.py,sha256=x,1\nThe_Shop-2.0.dist-info/RECORD,,\n../../bin/shop,,\n",
		"site/the_money-1.egg-info/PKG-INFO":      "Name: the-money\nVersion: 1\n",
		"site/the_money-1.egg-info/top_level.txt": "money\n",
		"site/nothing-1.dist-info/METADATA":       "no metadata\n",
		"site/single-3.egg-info":                  "Name: single\nVersion: 3\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	const many = 3000
	for n := range many {
		if err := os.WriteFile(filepath.Join(dir, "site/made", "m"+strconv.Itoa(n)+".py"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.Command(python, "-B", filepath.Join(dir, "run.py"), "../../images/runtimes/python/driver", filepath.Join(dir, "site"), strconv.Itoa(many)).Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, err.(*exec.ExitError).Stderr)
	}
	r, err := Decode(out)
	if err != nil {
		t.Fatal(err)
	}
	if r.ModuleCount != 2000 || r.LeftOut < many-2000 {
		t.Errorf("%d modules, %d left out", r.ModuleCount, r.LeftOut)
	}
	d := r.Distributions
	if len(d) != 2 || d[0].Pin() != "the-money==1" || d[1].Pin() != "The_Shop==2.0" || d[0].MS < 20 || d[1].MS < 10 || d[1].TotalMS < d[0].TotalMS+10 || d[1].Modules != 2 {
		t.Errorf("%+v", d)
	}
	if needs, _ := json.Marshal(d[1].Needs); string(needs) != `["the-money==1"]` {
		t.Errorf("needs %s", needs)
	}
	var names []string
	for _, m := range r.Modules[:6] {
		names = append(names, m.Name)
		if m.Function != (m.Name == "main") {
			t.Errorf("%+v", m)
		}
	}
	if got, _ := json.Marshal(names); string(got) != `["money","shop.till","shop","colorsys","main","made"]` {
		t.Errorf("order %s", got)
	}
}
