package instance

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"seuss/dispatcher/instance/instancetest"
	"seuss/guest"
	"seuss/images"
	"seuss/lineage"
	"seuss/vmm/vmmtest"
)

// loaderBench has the base snapshot of the loader in an image that holds Python.
type loaderBench struct {
	*testing.T
	host *Host
	img  *Image
	base *Snapshot
}

func newLoaderBench(t *testing.T) *loaderBench {
	t.Helper()
	dir := instancetest.StateDir(t)
	store, err := lineage.Open(t.TempDir(), lineage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	b := &loaderBench{T: t}
	known := map[string]*Snapshot{}
	snapshots := func(id string) (s *Snapshot, err error) {
		if known[id] == nil {
			known[id], err = b.host.Load(id)
		}
		return known[id], err
	}
	b.host = &Host{
		Platform: vmmtest.Require(t), Store: store, Snapshots: snapshots, Observer: silent{}, Log: slog.New(slog.DiscardHandler),
		Background: func(func()) bool { return false }, Closing: func() bool { return false },
	}
	path, err := images.Store{Dir: filepath.Join(dir, "images")}.Find("python")
	if err != nil {
		t.Fatal(err)
	}
	var root *lineage.Node
	if b.img, root, err = b.host.OpenImage("python", path); err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(b.img.Runtimes, func(rt images.Runtime) bool { return rt.Name == "loader" })
	if at < 0 {
		t.Fatalf("the image has no loader: %v", b.img.Runtimes)
	}
	above, err := snapshots(root.Info.ID)
	if err != nil {
		t.Fatal(err)
	}
	vm, err := NewVM(b.host, b.img, above)
	if err != nil {
		t.Fatal(err)
	}
	i, err := Boot(vm, at, above)
	if err != nil {
		t.Fatal(err)
	}
	defer i.Destroy()
	if b.base, err = i.Capture(Capture{Kind: lineage.KindBase, Key: lineage.Key{Runtime: "loader 1"}}); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *loaderBench) begin(s *Snapshot) *Instance {
	b.Helper()
	vm, err := NewVM(b.host, b.img, s)
	if err != nil {
		b.Fatal(err)
	}
	i, err := vm.Begin(s)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := i.Destroy(); err != nil {
			b.Error(err)
		}
	})
	return i
}

func programRecord(kind uint8, name, value string) []byte {
	r := binary.LittleEndian.AppendUint32([]byte{kind}, uint32(len(name)))
	r = binary.LittleEndian.AppendUint32(r, uint32(len(value)))
	return append(append(r, name...), value...)
}

func file(name, content string) []byte { return programRecord(guest.ProgramFile, name, content) }

func command(words ...string) (b []byte) {
	for _, w := range words {
		b = append(b, programRecord(guest.ProgramArgument, "", w)...)
	}
	return b
}

// output runs a program to its end.
func (b *loaderBench) output(i *Instance, records ...[]byte) (stdout string, err error) {
	b.Helper()
	deadline := time.Now().Add(bootTimeout * time.Duration(*instancetest.Slow))
	if err := i.Converse(context.Background(), deadline).Become(slices.Concat(records...)); err != nil {
		return "", err
	}
	err = i.Until(context.Background(), deadline, func() bool { return false })
	for _, line := range i.Report().Logs {
		stdout += line.Text
	}
	return stdout, err
}

// TestLoader: the loader of an image writes a program's files and becomes it, and says
// what is wrong with one before.
func TestLoader(t *testing.T) {
	b := newLoaderBench(t)
	variable := func(v string) []byte { return programRecord(guest.ProgramVariable, "", v) }
	directory := func(d string) []byte { return programRecord(guest.ProgramDirectory, "", d) }
	script := file("bin/script", "#!/usr/bin/python3 -u\nimport os, sys\nprint(sys.argv, os.getcwd(), os.environ.get('A'), os.environ.get('SEUSS_DRIVER_PROTOCOL'), oct(os.stat(sys.argv[0]).st_mode), sorted(os.listdir('/proc/self/fd')), open('deep/er/data').read())\nsys.exit(7)\n")
	data := file("deep/er/data", "content")
	for _, test := range []struct {
		name    string
		records []byte
		want    string // its output, or what the error says
		status  int    // -1: refused
	}{
		{"script", slices.Concat(script, data, command("bin/script", "one", "two words"), variable("A=b")), "['bin/script', 'one', 'two words'] /var/task b None 0o100755 ['0', '1', '2', '3'] content", 7},
		{"interpreter by its path", slices.Concat(command("/usr/bin/python3", "-c", "import json; print(json.dumps([1]))")), "[1]", 0},
		{"interpreter by its name", slices.Concat(command("python3", "-c", "print('found')"), variable("PATH=/nowhere:/usr/bin")), "found", 0},
		{"directory", slices.Concat(command("/usr/bin/python3", "-c", "import os; print(os.getcwd())"), directory("/tmp")), "/tmp", 0},
		{"no command", script, "there is no command", -1},
		{"not found", command("nothing"), "command not found: nothing", -1},
		{"no directory", slices.Concat(command("nothing"), directory("/no/such")), "working directory /no/such: no such file or directory", -1},
		{"not executable", command("/etc/passwd"), "command /etc/passwd: permission denied", -1},
		{"a directory", command("/usr/bin/"), "command /usr/bin/: permission denied", -1},
		{"not a program", slices.Concat(file("x", "hello"), command("x")), "command x: it is no program that this machine runs", -1},
		{"up", slices.Concat(file("../x", "hello"), command("x")), "leads out of its directory", -1},
		{"absolute", slices.Concat(file("/x", "hello"), command("x")), "leads out of its directory", -1},
		{"in the middle", slices.Concat(file("a/../x", "hello"), command("x")), "leads out of its directory", -1},
		{"a file in a file", slices.Concat(file("x", "hello"), file("x/y", "hello"), command("x")), "file x/y: a part of the path is no directory", -1},
		{"cut", script[:len(script)-9], "longer than the program", -1},
		{"unknown kind", programRecord(99, "", "x"), "of no known kind", -1},
		{"no name", slices.Concat(command("x"), variable("=x")), "a variable has no name", -1},
		{"too much", slices.Concat(command("x", strings.Repeat("y", guest.ProgramTextBytes))), "arguments and environment are too long", -1},
	} {
		t.Run(test.name, func(t *testing.T) {
			i := b.begin(b.base)
			out, err := b.output(i, test.records)
			if test.status < 0 {
				var wrong *HandlerError
				if !errors.As(err, &wrong) || wrong.Type != "Runtime.InvalidEntrypoint" || !strings.Contains(wrong.Message, test.want) {
					t.Fatalf("%v, want %q", err, test.want)
				}
				if test.name != "too much" {
					return
				}
				// The loader waits for the next.
				if out, err = b.output(i, command("/usr/bin/python3", "-c", "print('next')")); strings.TrimSpace(out) != "next" {
					t.Errorf("the next: %q, %v", out, err)
				}
				return
			}
			var exit *ExitError
			if !errors.As(err, &exit) || exit.Status != test.status || strings.TrimSpace(out) != test.want {
				t.Errorf("%q, %v; want %q and status %d", out, err, test.want, test.status)
			}
		})
	}
}
