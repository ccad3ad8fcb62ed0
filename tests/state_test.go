package tests

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"seuss/dispatcher"
	"seuss/images"
	"seuss/lineage"
	"seuss/vmm/platform"
	"seuss/vmm/vmmtest"
)

// tree is a state directory with a base node and two functions, made once; a
// test gets a copy whose files it may damage.
var tree struct {
	once         sync.Once
	dir          string
	base, victim string // node ids
	sound        string // what the sound function answers
}

const victimFunction = "table = {n: str(n) for n in range(20000)}\ndef handler(event, context):\n    return table[event['n']]\n"

// treeCopy returns a copy of tree: what is sealed is linked, the rest copied.
func treeCopy(t *testing.T) string {
	t.Helper()
	source := sharedState(t)
	tree.once.Do(func() {
		tree.dir = filepath.Join(source, "tree")
		linkTree(t, filepath.Join(source, "images"), filepath.Join(tree.dir, "images"))
		d := openAt(t, tree.dir, nil)
		deploy(t, d, "sound", soundFunction, nil)
		tree.sound = checkSound(t, d)
		deploy(t, d, "victim", victimFunction, nil)
		tree.base = d.Store().Kind(lineage.KindBase)[0].Info.ID
		tree.victim = d.Store().Function("victim")[0].Info.ID
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	})
	if tree.victim == "" {
		t.Fatal("the state directory could not be made")
	}
	dir := filepath.Join(t.TempDir(), "state")
	linkTree(t, tree.dir, dir)
	return dir
}

func linkTree(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if e.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		if ext := filepath.Ext(path); (ext == ".img" || ext == ".node") && os.Link(path, filepath.Join(to, rel)) == nil {
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), b, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// damage replaces a file by a changed copy, so that links of it stay whole.
func damage(t *testing.T, path string, change func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".new", change(bytes.Clone(b)), 0o444); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func flipAt(at int) func([]byte) []byte {
	return func(b []byte) []byte { b[at] ^= 0x10; return b }
}

// flipSection flips a bit in the middle of a node file's section, see
// lineage/nodefile/header.go: data, metadata, state, index.
func flipSection(section int) func([]byte) []byte {
	return func(b []byte) []byte {
		at, n := binary.LittleEndian.Uint64(b[32+24*section:]), binary.LittleEndian.Uint64(b[40+24*section:])
		b[at+n/2] ^= 1
		return b
	}
}

func nodeFile(dir, id string) string { return filepath.Join(dir, "nodes", id+".node") }

// tryVictim invokes the victim and gives the error, which must be one line.
func tryVictim(t *testing.T, d *dispatcher.Dispatcher) error {
	t.Helper()
	r, err := d.Invoke(context.Background(), dispatcher.Request{Function: "victim", Event: []byte(`{"n": 4711}`)})
	if err != nil {
		checkOneLine(t, err.Error())
		t.Log(err)
		return err
	}
	if got := output[string](t, r); got != "4711" {
		t.Errorf("the victim answers %q", got)
	}
	return nil
}

func wantSound(t *testing.T, d *dispatcher.Dispatcher) {
	t.Helper()
	if got := checkSound(t, d); got != tree.sound {
		t.Errorf("the sound function answers %s, want %s", got, tree.sound)
	}
}

// TestDamagedNode: a damaged node is never run. Where its header or metadata
// are damaged it is left out and taken again; where its content is, the error
// names it and removing it is the cure. Other functions do not notice.
func TestDamagedNode(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func([]byte) []byte
		want   error
		atOpen bool
	}{
		{"empty", func([]byte) []byte { return nil }, lineage.ErrMagic, true},
		{"truncated-header", func(b []byte) []byte { return b[:100] }, lineage.ErrLength, true},
		{"truncated", func(b []byte) []byte { return b[:len(b)/2] }, lineage.ErrLength, true},
		{"one-byte-short", func(b []byte) []byte { return b[:len(b)-1] }, lineage.ErrLength, true},
		{"longer", func(b []byte) []byte { return append(b, 0) }, lineage.ErrLength, true},
		{"magic", flipAt(0), lineage.ErrMagic, true},
		{"version", flipAt(8), lineage.ErrVersion, true},
		{"header", flipAt(60), lineage.ErrChecksum, true},
		{"metadata", flipSection(1), lineage.ErrChecksum, true},
		{"state", flipSection(2), lineage.ErrChecksum, false},
		{"index", flipSection(3), lineage.ErrChecksum, false},
		{"page-data", flipSection(0), lineage.ErrChecksum, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := treeCopy(t)
			damage(t, nodeFile(dir, tree.victim), c.change)
			d := openAt(t, dir, nil)
			wantSound(t, d)
			if damaged := d.Store().Damaged(); c.atOpen {
				if len(damaged) != 1 || !errors.Is(damaged[0].Err, c.want) || damaged[0].Path != nodeFile(dir, tree.victim) {
					t.Errorf("damaged files %v, want %v", damaged, c.want)
				} else {
					checkOneLine(t, damaged[0].Err.Error())
				}
			} else {
				err := tryVictim(t, d)
				if !errors.Is(err, c.want) || !strings.Contains(err.Error(), tree.victim) {
					t.Errorf("error %v, want %v with the node's id", err, c.want)
				}
				if err := d.RemoveNode(tree.victim, false); err != nil {
					t.Errorf("remove the damaged node: %v", err)
				}
			}
			if err := tryVictim(t, d); err != nil {
				t.Errorf("it was not taken again: %v", err)
			}
			wantSound(t, d)
		})
	}
}

// TestDamagedBase: the same of a node that others hang on.
func TestDamagedBase(t *testing.T) {
	t.Run("header", func(t *testing.T) {
		dir := treeCopy(t)
		damage(t, nodeFile(dir, tree.base), flipAt(60))
		d := openAt(t, dir, nil)
		orphans := 0
		for _, bad := range d.Store().Damaged() {
			if errors.Is(bad.Err, lineage.ErrOrphan) {
				orphans++
			}
		}
		if orphans != 2 || len(d.Store().Damaged()) != 3 {
			t.Errorf("damaged: %v, want the base and two orphans", d.Store().Damaged())
		}
		wantSound(t, d)
		if err := tryVictim(t, d); err != nil {
			t.Error(err)
		}
	})
	t.Run("page-data", func(t *testing.T) {
		dir := treeCopy(t)
		damage(t, nodeFile(dir, tree.base), flipSection(0))
		d := openAt(t, dir, nil)
		if err := tryVictim(t, d); !errors.Is(err, lineage.ErrChecksum) || !strings.Contains(err.Error(), tree.base) {
			t.Errorf("error %v, want %v with the base node's id", err, lineage.ErrChecksum)
		}
		if err := d.RemoveNode(tree.base, false); !errors.Is(err, lineage.ErrHasChildren) {
			t.Errorf("removed a node that others hang on: %v", err)
		}
		if err := d.RemoveNode(tree.base, true); err != nil {
			t.Error(err)
		}
		if err := tryVictim(t, d); err != nil {
			t.Error(err)
		}
		wantSound(t, d)
	})
}

// lesserPlatform is a host whose CPU lacks some features.
type lesserPlatform struct {
	platform.Platform
	lacks []string
}

func (p lesserPlatform) CPU() platform.CPU {
	cpu := p.Platform.CPU()
	cpu.Features.Names = slices.DeleteFunc(slices.Clone(cpu.Features.Names), func(n string) bool { return slices.Contains(p.lacks, n) })
	return cpu
}

func TestWrongCPU(t *testing.T) {
	dir := treeCopy(t)
	platform := vmmtest.Require(t)
	lacks := platform.CPU().Features.Names[:2]
	d := openAt(t, dir, func(o *dispatcher.Options) { o.Platform = lesserPlatform{platform, lacks} })
	err := tryVictim(t, d)
	if !errors.Is(err, dispatcher.ErrCPU) || !strings.Contains(err.Error(), lacks[0]) || !strings.Contains(err.Error(), lacks[1]) {
		t.Errorf("error %v, want ErrCPU naming %v", err, lacks)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	d = openAt(t, dir, nil)
	if err := tryVictim(t, d); err != nil {
		t.Errorf("on the right host: %v", err)
	}
	wantSound(t, d)
}

// TestDamagedImage: nothing runs from a damaged image, nothing is added to the
// tree because of it, and when the file is back everything works again.
func TestDamagedImage(t *testing.T) {
	t.Parallel()
	const version, digest = 8, 24 // offsets in the header, guest/abi/image.h
	for _, c := range []struct {
		name   string
		change func([]byte) []byte
		want   []error // from a fresh state directory; from one that knows the image
	}{
		{"empty", func([]byte) []byte { return nil }, []error{images.ErrTruncated, images.ErrTruncated}},
		{"truncated", func(b []byte) []byte { return b[:len(b)/2] }, []error{images.ErrTruncated, images.ErrTruncated}},
		{"one-page-short", func(b []byte) []byte { return b[:len(b)-4096] }, []error{images.ErrTruncated, images.ErrTruncated}},
		{"magic", flipAt(0), []error{images.ErrMagic, images.ErrMagic}},
		{"version", flipAt(version), []error{images.ErrVersion, images.ErrVersion}},
		{"digest", flipAt(digest), []error{images.ErrCorrupt, images.ErrCorrupt}},
		{"content", func(b []byte) []byte { b[len(b)/2] ^= 1; return b }, []error{images.ErrCorrupt, lineage.ErrChecksum}},
	} {
		for i, state := range []string{"fresh", "known"} {
			t.Run(c.name+"/"+state, func(t *testing.T) {
				dir := treeCopy(t)
				if state == "fresh" {
					for _, sub := range []string{"nodes", "functions", "code"} {
						if err := os.RemoveAll(filepath.Join(dir, sub)); err != nil {
							t.Fatal(err)
						}
					}
				}
				image, err := images.Store{Dir: filepath.Join(dir, "images")}.Find("python")
				if err != nil {
					t.Fatal(err)
				}
				whole := image + ".whole"
				if err := os.Link(image, whole); err != nil {
					t.Fatal(err)
				}
				damage(t, image, c.change)
				d := openAt(t, dir, nil)
				nodes := len(d.Store().List())
				_, err = d.Deploy(context.Background(), dispatcher.FunctionSpec{Name: "new", Handler: "main.handler", Files: map[string][]byte{"main.py": []byte(victimFunction)}})
				if !errors.Is(err, c.want[i]) {
					t.Errorf("deploy: error %v, want %v", err, c.want[i])
				}
				checkOneLine(t, fmt.Sprint(err))
				t.Log(err)
				if state == "known" {
					if err := tryVictim(t, d); !errors.Is(err, c.want[i]) {
						t.Errorf("invoke: error %v, want %v", err, c.want[i])
					}
				}
				if now := len(d.Store().List()); now != nodes {
					t.Errorf("%d nodes before, %d after", nodes, now)
				}
				if err := d.Close(); err != nil {
					t.Error(err)
				}
				if err := os.Rename(whole, image); err != nil {
					t.Fatal(err)
				}
				if state == "known" {
					d = openAt(t, dir, nil)
					wantSound(t, d)
					if err := tryVictim(t, d); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
}

// TestReadOnlyState: such a directory is refused for writing with what to do,
// and opened read-only it serves invocations.
func TestReadOnlyState(t *testing.T) {
	dir := treeCopy(t)
	if os.Geteuid() == 0 {
		if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err != nil {
			t.Skip("skipped, root cannot be refused writing and no mount is allowed here:", err)
		}
		t.Cleanup(func() {
			if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
				t.Error(err)
			}
		})
		if err := unix.Mount("", dir, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
			t.Skip("skipped, root cannot be refused writing and no read-only mount is allowed here:", err)
		}
	} else {
		for _, sub := range []string{"nodes", "functions", "code", "images", ""} {
			path := filepath.Join(dir, sub)
			if err := os.Chmod(path, 0o555); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.Chmod(path, 0o755) })
		}
	}
	platform := vmmtest.Require(t)
	d, err := dispatcher.Open(dispatcher.Options{StateDir: dir, Platform: platform})
	if err == nil {
		d.Close()
		t.Fatal("a read-only directory was opened for writing")
	}
	if !errors.Is(err, unix.EROFS) && !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("error %v", err)
	}
	checkOneLine(t, err.Error())
	d = openAt(t, dir, func(o *dispatcher.Options) { o.ReadOnly = true })
	wantSound(t, d)
	if err := tryVictim(t, d); err != nil {
		t.Error(err)
	}
	for what, err := range map[string]error{
		"deploy": second(d.Deploy(context.Background(), dispatcher.FunctionSpec{Name: "new", Handler: "main.handler", Files: map[string][]byte{"main.py": []byte(victimFunction)}})),
		"import": second(d.Import(context.Background(), "", "", []string{"json"})),
		"remove": d.RemoveFunction("victim"),
	} {
		if !errors.Is(err, lineage.ErrReadOnly) {
			t.Errorf("%s: error %v, want %v", what, err, lineage.ErrReadOnly)
		}
		checkOneLine(t, fmt.Sprint(err))
	}
	wantSound(t, d)
}

func second[T any](_ T, err error) error { return err }

// TestFullState: a deployment that does not fit fails and leaves nothing;
// what is deployed works on.
func TestFullState(t *testing.T) {
	source := treeCopy(t)
	var size int64
	filepath.WalkDir(source, func(_ string, e fs.DirEntry, err error) error {
		if info, ierr := e.Info(); err == nil && ierr == nil && !e.IsDir() {
			size += info.Size()
		}
		return err
	})
	dir := filepath.Join(t.TempDir(), "full")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size+16<<20)); err != nil {
		t.Skip("skipped, a small file system to fill cannot be mounted here:", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	state := filepath.Join(dir, "state")
	linkTree(t, source, state)
	d := openAt(t, state, nil)
	wantSound(t, d)
	filler := filepath.Join(dir, "filler")
	// From no room at all to room for all but the last file.
	for _, room := range []int64{0, 8 << 10, 256 << 10} {
		fillUp(t, filler, room)
		before := listing(t, state)
		for _, name := range []string{"new", "victim"} {
			_, err := d.Deploy(context.Background(), dispatcher.FunctionSpec{Name: name, Handler: "main.handler", Files: map[string][]byte{
				"main.py": []byte("big = list(range(300000))\n" + victimFunction)}})
			if !errors.Is(err, unix.ENOSPC) || !strings.Contains(fmt.Sprint(err), state) {
				t.Errorf("%d bytes of room: deploy %s: %v, want ENOSPC on a file of %s", room, name, err, state)
			}
			checkOneLine(t, fmt.Sprint(err))
		}
		if after := listing(t, state); !slices.Equal(before, after) {
			t.Errorf("%d bytes of room: files before and after the failed deployments:\n%v\n%v", room, before, after)
		}
		wantSound(t, d)
		if err := tryVictim(t, d); err != nil {
			t.Error(err)
		}
	}
	fillUp(t, filler, 0)
	if err := d.Close(); err != nil {
		t.Errorf("use counts are kept at best effort, but Close says: %v", err)
	}
	d = openAt(t, state, nil)
	if damaged := d.Store().Damaged(); len(damaged) > 0 {
		t.Errorf("damaged: %v", damaged)
	}
	wantSound(t, d)
	if err := tryVictim(t, d); err != nil {
		t.Error(err)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	deploy(t, d, "new", victimFunction, nil)
	if got := output[string](t, invoke(t, d, "new", `{"n": 1}`)); got != "1" {
		t.Errorf("with room again: %q", got)
	}
}

// fillUp fills a file system with one file until room bytes are left.
func fillUp(t *testing.T, path string, room int64) {
	t.Helper()
	os.Remove(path)
	var fs unix.Statfs_t
	if err := unix.Statfs(filepath.Dir(path), &fs); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Fallocate(int(f.Fd()), 0, 0, max(int64(fs.Bavail)*fs.Bsize-room, 1)); err != nil {
		t.Fatal(err)
	}
}

func listing(t *testing.T, dir string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && filepath.Base(path) != "hits" {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
