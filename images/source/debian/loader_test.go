package debian

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"seuss/images/internal/elftest"
)

// dyn describes a synthetic shared object, without section headers.
type dyn struct {
	soname, rpath, runpath, interp string
	needed                         []string
}

// makeShared returns the ELF.
func makeShared(d dyn) []byte {
	strtab := []byte{0}
	var table []byte
	put := func(tag elf.DynTag, value uint64) {
		table = binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(table, uint64(tag)), value)
	}
	text := func(tag elf.DynTag, s string) {
		if s != "" {
			put(tag, uint64(len(strtab)))
			strtab = append(append(strtab, s...), 0)
		}
	}
	for _, n := range d.needed {
		text(elf.DT_NEEDED, n)
	}
	text(elf.DT_SONAME, d.soname)
	text(elf.DT_RPATH, d.rpath)
	text(elf.DT_RUNPATH, d.runpath)
	const at, strings = 0x200, 0x1000
	put(elf.DT_STRTAB, strings)
	put(elf.DT_STRSZ, uint64(len(strtab)))
	put(elf.DT_NULL, 0)
	content := make([]byte, strings-at+len(strtab))
	copy(content, table)
	copy(content[strings-at:], strtab)
	segs := []elftest.Segment{{Vaddr: at, Off: at, Data: content, Flags: elf.PF_R}, {Type: elf.PT_DYNAMIC, Vaddr: at, Off: at, Data: table}}
	if d.interp != "" {
		segs = append(segs, elftest.Segment{Type: elf.PT_INTERP, Off: 0x1800, Data: append([]byte(d.interp), 0)})
	}
	return elftest.Make(elf.ET_DYN, 0, segs...)
}

// scratchRoot makes a file system of text: a link is its target behind "-> ", an
// object is a dyn.
func scratchRoot(t *testing.T, tree map[string]any) string {
	t.Helper()
	root := t.TempDir()
	for p, what := range tree {
		host := filepath.Join(root, p)
		err := os.MkdirAll(filepath.Dir(host), 0o755)
		switch what := what.(type) {
		case dyn:
			err = errors.Join(err, os.WriteFile(host, makeShared(what), 0o644))
		case []byte:
			err = errors.Join(err, os.WriteFile(host, what, 0o644))
		case string:
			target, ok := strings.CutPrefix(what, "-> ")
			if !ok {
				t.Fatalf("%s: %q is no link", p, what)
			}
			err = errors.Join(err, os.Symlink(target, host))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// cacheOf returns a loader cache with soname=path entries; a '!' before one says that
// it is for particular CPUs.
func cacheOf(entries ...string) []byte {
	n := len(entries)
	b := make([]byte, cacheHeader+n*cacheEntry)
	copy(b, cacheMagic)
	binary.LittleEndian.PutUint32(b[20:], uint32(n))
	for i, e := range entries {
		e, forCPU := strings.CutPrefix(e, "!")
		soname, path, _ := strings.Cut(e, "=")
		at := b[cacheHeader+i*cacheEntry:]
		binary.LittleEndian.PutUint32(at, cacheX8664)
		if forCPU {
			binary.LittleEndian.PutUint64(at[16:], 1<<62)
		}
		binary.LittleEndian.PutUint32(at[4:], uint32(len(b)))
		b = append(append(b, soname...), 0)
		at = b[cacheHeader+i*cacheEntry:]
		binary.LittleEndian.PutUint32(at[8:], uint32(len(b)))
		b = append(append(b, path...), 0)
	}
	return b
}

// TestLoader: what is collected is what the loader would open, by the names that it
// opens it by.
func TestLoader(t *testing.T) {
	const libDir = "/usr/lib/x86_64-linux-gnu/"
	merged := func(tree map[string]any) map[string]any {
		tree["/lib"] = "-> usr/lib"
		return tree
	}
	for _, c := range []struct {
		name    string
		tree    map[string]any
		env     string
		program string // "/prog" if empty
		want    []string
		without []string
		fails   string
	}{
		{name: "alternative whose $ORIGIN is that of the link", tree: merged(map[string]any{
			"/prog":                      dyn{needed: []string{"libblas.so.3"}, interp: "/lib64/ld.so"},
			"/lib64/ld.so":               dyn{},
			libDir + "libblas.so.3":      "-> /etc/alternatives/libblas",
			"/etc/alternatives/libblas":  "-> " + libDir + "ob/libblas.so.3",
			libDir + "ob/libblas.so.3":   dyn{soname: "libblas.so.3", needed: []string{"libob.so.0"}, runpath: "$ORIGIN"},
			libDir + "libob.so.0":        "-> /etc/alternatives/libob",
			"/etc/alternatives/libob":    "-> " + libDir + "ob/libob.so.0",
			libDir + "ob/libob.so.0":     "-> libob-r1.so",
			libDir + "ob/libob-r1.so":    dyn{soname: "libob.so.0"},
			"/etc/ld.so.cache":           cacheOf("libblas.so.3=/lib/x86_64-linux-gnu/libblas.so.3"),
			libDir + "other/libob.so.0":  dyn{},
			libDir + "unused/libblas.so": dyn{},
		}), want: []string{
			"/lib", libDir + "libblas.so.3", "/etc/alternatives/libblas", libDir + "ob/libblas.so.3", libDir + "libob.so.0",
			"/etc/alternatives/libob", libDir + "ob/libob.so.0", libDir + "ob/libob-r1.so", "/lib64/ld.so",
		}, without: []string{libDir + "other/libob.so.0", libDir + "unused/libblas.so"}},
		{name: "runpath before the cache, with tokens", tree: map[string]any{
			"/opt/bin/prog":                      dyn{needed: []string{"liba.so", "libl.so"}, runpath: "relative:${ORIGIN}/../own:/x/$LIB"},
			"/opt/own/liba.so":                   dyn{},
			"/x/lib/x86_64-linux-gnu/libl.so":    dyn{},
			"/lib/x86_64-linux-gnu/liba.so":      dyn{},
			"/etc/ld.so.cache":                   cacheOf("liba.so=/lib/x86_64-linux-gnu/liba.so"),
			"/lib/x86_64-linux-gnu/libunused.so": dyn{},
		}, program: "/opt/bin/prog", want: []string{"/opt/own/liba.so", "/x/lib/x86_64-linux-gnu/libl.so"}, without: []string{"/lib/x86_64-linux-gnu/liba.so"}},
		{name: "rpath is inherited, runpath is not", tree: map[string]any{
			"/prog":        dyn{needed: []string{"liba.so"}, rpath: "/r"},
			"/r/liba.so":   dyn{needed: []string{"libb.so"}},
			"/r/libb.so":   dyn{needed: []string{"libc.so"}, runpath: "/u"},
			"/r/libc.so":   dyn{},
			"/u/libc.so":   dyn{needed: []string{"libd.so"}},
			"/u/libd.so":   dyn{},
			"/lib/libd.so": dyn{},
		}, want: []string{"/r/liba.so", "/r/libb.so", "/u/libc.so"}, without: []string{"/r/libc.so", "/u/libd.so"}},
		{name: "library path between them", env: "/e:/none", tree: map[string]any{
			"/prog":      dyn{needed: []string{"liba.so", "libb.so"}, runpath: "/u"},
			"/e/liba.so": dyn{}, "/u/liba.so": dyn{}, "/u/libb.so": dyn{},
		}, want: []string{"/e/liba.so", "/u/libb.so"}, without: []string{"/u/liba.so"}},
		{name: "variants for CPUs beside the plain one", tree: map[string]any{
			"/prog":         dyn{needed: []string{"liba.so", "libb.so"}},
			"/c/v3/liba.so": dyn{}, "/c/liba.so": dyn{}, "/d/liba.so": dyn{},
			"/usr/lib/glibc-hwcaps/x86-64-v3/libb.so": dyn{}, "/usr/lib/libb.so": dyn{},
			"/etc/ld.so.cache": cacheOf("!liba.so=/c/v3/liba.so", "liba.so=/c/liba.so", "liba.so=/d/liba.so"),
		}, want: []string{"/c/v3/liba.so", "/c/liba.so", "/usr/lib/libb.so", "/usr/lib/glibc-hwcaps/x86-64-v3/libb.so"}, without: []string{"/d/liba.so"}},
		{name: "what another loads already", tree: map[string]any{
			"/prog":      dyn{needed: []string{"liba.so", "libb.so"}, runpath: "/u"},
			"/u/liba.so": dyn{needed: []string{"libb.so"}}, "/u/libb.so": dyn{},
		}, want: []string{"/u/libb.so"}},
		{name: "other architectures are passed over", tree: map[string]any{
			"/prog":      dyn{needed: []string{"liba.so"}, runpath: "/w:/u"},
			"/w/liba.so": []byte("not ELF"), "/u/liba.so": dyn{},
		}, want: []string{"/u/liba.so"}, without: []string{"/w/liba.so"}},
		{name: "by path", tree: map[string]any{
			"/o/prog":      dyn{needed: []string{"$ORIGIN/x/liba.so"}},
			"/o/x/liba.so": dyn{},
		}, program: "/o/prog", want: []string{"/o/x/liba.so"}},
		{name: "a missing one is named", tree: map[string]any{
			"/prog":      dyn{needed: []string{"liba.so"}, runpath: "/u"},
			"/u/liba.so": dyn{needed: []string{"libgone.so.7"}},
		}, fails: "/u/liba.so needs library libgone.so.7"},
	} {
		t.Run(c.name, func(t *testing.T) {
			col := newCollector(scratchRoot(t, c.tree))
			col.libraryPath = c.env
			program := c.program
			if program == "" {
				program = "/prog"
			}
			err := col.Follow(context.Background(), program)
			if c.fails != "" {
				if err == nil || !strings.Contains(err.Error(), c.fails) || !errors.Is(err, fs.ErrNotExist) {
					t.Fatalf("got %v, want %s", err, c.fails)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range c.want {
				if _, ok := col.files[p]; !ok {
					t.Errorf("%s is missing", p)
				}
			}
			for _, p := range c.without {
				if _, ok := col.files[p]; ok {
					t.Errorf("%s would not be loaded", p)
				}
			}
		})
	}
}

// TestLoaderCache: the cache is read as ldconfig(8) made it, old tables before it
// included, and a damaged one is refused.
func TestLoaderCache(t *testing.T) {
	b := cacheOf("libz.so.1=/lib/a/libz.so.1", "!libz.so.1=/lib/v3/libz.so.1")
	old := append([]byte(cacheOldMagic), 1, 0, 0, 0)
	old = append(old, make([]byte, cacheOldEntry+4)...)
	for _, b := range [][]byte{b, append(old, b...)} {
		libs, err := parseLoaderCache(b)
		if want := []cachedLibrary{{"/lib/a/libz.so.1", false}, {"/lib/v3/libz.so.1", true}}; err != nil || !slices.Equal(libs["libz.so.1"], want) {
			t.Errorf("got %v, %v", libs, err)
		}
	}
	for n := range b {
		if _, err := parseLoaderCache(b[:n]); err == nil {
			t.Errorf("%d of %d bytes were taken", n, len(b))
		}
	}
}

func FuzzLoader(f *testing.F) {
	f.Add(cacheOf("liba.so=/a/liba.so", "!libb.so=/b/libb.so"))
	f.Add(makeShared(dyn{soname: "a", needed: []string{"libb.so", "$ORIGIN/c"}, rpath: "/r", interp: "/lib/ld.so"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if libs, err := parseLoaderCache(b); err == nil {
			for soname := range libs {
				if strings.Contains(soname, "\x00") {
					t.Errorf("soname %q", soname)
				}
			}
		}
		d, err := readDynamic(bytes.NewReader(b))
		if err != nil {
			return
		}
		for _, name := range append(d.needed, d.soname, d.rpath, d.runpath, d.interp) {
			if len(name) > len(b) || strings.Contains(name, "\x00") {
				t.Errorf("string %q", name)
			}
		}
		expandSearch(d.runpath, "/x")
	})
}

// TestHostCache: this host's own cache is read.
func TestHostCache(t *testing.T) {
	b, err := os.ReadFile(loaderCache)
	if err != nil {
		t.Skip("this host has no loader cache")
	}
	libs, err := parseLoaderCache(b)
	if err != nil || len(libs["libc.so.6"]) == 0 {
		t.Errorf("libc.so.6 is at %v: %v", libs["libc.so.6"], err)
	}
}

// TestTrimmedCache: libraries that an image does not hold leave no trace in its cache, and
// those that it holds are found as before.
func TestTrimmedCache(t *testing.T) {
	keep := func(p string) bool { return p == "/lib/libz.so.1" || p == "/lib/liba.so" }
	few, err := trimLoaderCache(cacheOf("libz.so.1=/lib/libz.so.1", "liba.so=/lib/liba.so"), keep)
	if err != nil {
		t.Fatal(err)
	}
	many, err := trimLoaderCache(cacheOf("libz.so.1=/lib/libz.so.1", "libq.so=/lib/libq.so", "!liba.so=/lib/v3/liba.so", "liba.so=/lib/liba.so", "lib0.so=/lib/lib0.so"), keep)
	if err != nil || !bytes.Equal(few, many) {
		t.Errorf("other libraries change the cache: %q, %q, %v", few, many, err)
	}
	libs, err := parseLoaderCache(many)
	if want := map[string][]cachedLibrary{"libz.so.1": {{"/lib/libz.so.1", false}}, "liba.so": {{"/lib/liba.so", false}}}; err != nil || !reflect.DeepEqual(libs, want) {
		t.Errorf("libraries %v, %v", libs, err)
	}
}
