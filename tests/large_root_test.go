package tests

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"seuss/images"
)

// largeRootVariable says how many GiB the large file of TestLargeRoot has, which is
// sparse. Without it memory leaves so little room that a small file does not fit.
const largeRootVariable = "SEUSS_LARGE_ROOT"

// largeRoot looks at files of the root at "at": beginning, middle and end of a large one, by
// every call that reads or maps, and small ones.
const largeRoot = `
import hashlib, mmap, os
at = globals().get("at", "")
big = at + "/data/big"
def look():
    out = [os.path.getsize(big)]
    half = out[0] // 2
    with open(big, "rb") as f:
        for place in (0, 4090, half - 3, half + 70000, out[0] - 5, out[0]):
            out.append(os.pread(f.fileno(), 11, place).hex())
        f.seek(half - 300000)
        out.append(hashlib.sha256(f.read(700000)).hexdigest())
        with mmap.mmap(f.fileno(), 8192, access=mmap.ACCESS_READ, offset=half) as m:
            out.append(m[:20].hex())
        with mmap.mmap(f.fileno(), 8192, access=mmap.ACCESS_COPY, offset=half) as m:
            m[:3] = b"own"
            out.append([m[:8].hex(), os.pread(f.fileno(), 3, half).hex()])
    names = sorted(os.listdir(at + "/data/many"))
    out.append([len(names), hashlib.sha256(b"".join(open(at + "/data/many/" + n, "rb").read() for n in names)).hexdigest()])
    return out
`

// TestLargeRoot: a root that does not fit into a guest's addresses is a program's and a
// function's. What they read of it is what is read natively, also where they had read some
// of it before their snapshot was taken.
func TestLargeRoot(t *testing.T) {
	t.Parallel()
	c := newCLI(t)
	root := hostRoot(t)
	size, memory := int64(300<<20), "7936MiB"
	if s := os.Getenv(largeRootVariable); s != "" {
		gib, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		size, memory = int64(gib)<<30, "512MiB"
	}
	if err := os.MkdirAll(filepath.Join(root, "data", "many"), 0o755); err != nil {
		t.Fatal(err)
	}
	big, err := os.Create(filepath.Join(root, "data", "big"))
	if err != nil {
		t.Fatal(err)
	}
	defer big.Close()
	for place, text := range map[int64]string{0: "it begins", 4092: "over pages", size/2 - 200_000: strings.Repeat("middle ", 60_000), size/2 + 70_000: "later", size - 4: "ends"} {
		if _, err := big.WriteAt([]byte(text), place); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 500 {
		if err := os.WriteFile(filepath.Join(root, "data", "many", strconv.Itoa(i)), []byte(strings.Repeat(strconv.Itoa(i), i%97*20)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	natively, err := exec.Command("python3", "-c", "at = "+strconv.Quote(root)+largeRoot+"import json; print(json.dumps(look()))").Output()
	if err != nil {
		t.Fatal(err)
	}
	want := strings.TrimSpace(string(natively))
	c.want(0, "", "image", "build", "large", "--from", "dir:"+root, "--memory", memory)
	path, err := images.Store{Dir: filepath.Join(c.state, "images")}.Find("large")
	if err != nil {
		t.Fatal(err)
	}
	img, err := images.Open(path, images.SkipDigest())
	if err != nil {
		t.Fatal(err)
	}
	defer img.Close()
	for name, whole := range map[string]bool{"/data/big": false, "/data/many/7": true} {
		e, err := img.Lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, mapped := img.Place(e.Inode.Off, e.Inode.Size); mapped != whole {
			t.Errorf("%s is mapped: %v, of an image that takes %d bytes", name, mapped, img.MappedBytes())
		}
	}
	if r := c.want(0, "", "run", "--image", "large", "--memory", memory, "--", "/usr/bin/python3", "-c", largeRoot+"import json; print(json.dumps(look()))"); strings.TrimSpace(r.stdout) != want {
		t.Errorf("a program reads\n%s\nnatively it is\n%s", r.stdout, want)
	}
	app := c.file("app.py", largeRoot+`
early = os.pread(os.open(big, os.O_RDONLY), 9, 0)
assert early == b"it begins"
def handler(event, context):
    return look()
`)
	c.want(0, "", "function", "deploy", "large", app, "--image", "large")
	for range 2 {
		if r := c.want(0, "", "invoke", "large"); strings.TrimSpace(r.stdout) != want {
			t.Errorf("a function reads\n%s\nnatively it is\n%s", r.stdout, want)
		}
	}
	c.want(0, "", "snapshot", "verify")
}
