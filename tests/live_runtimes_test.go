package tests

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"testing"
	"time"

	"seuss/dispatcher"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/instances"
	livefiles "seuss/dispatcher/instances/archive"
	"seuss/guest"
	"seuss/lineage"
	"seuss/lineage/oci"
)

// lab is what tests do with instances that live on.
type lab struct {
	*testing.T
	d   *dispatcher.Dispatcher
	ctx context.Context
}

func newLab(t *testing.T, d *dispatcher.Dispatcher) *lab {
	ctx, cancel := context.WithTimeout(t.Context(), patience(3*time.Minute))
	t.Cleanup(cancel)
	return &lab{t, d, ctx}
}

func (l *lab) create(s instances.Spec) *instances.Instance {
	l.Helper()
	info, err := l.d.Keeper.Create(l.ctx, functions.DefaultOwner, s)
	if err != nil {
		l.Fatal(err)
	}
	return l.get(info.Name)
}

func (l *lab) get(name string) *instances.Instance {
	l.Helper()
	i, err := l.d.Keeper.Get(functions.DefaultOwner, name)
	if err != nil {
		l.Fatal(err)
	}
	return i
}

// exec runs code, whose failure is in the answer.
func (l *lab) exec(i *instances.Instance, code string) *instances.Answer {
	l.Helper()
	a, err := i.Do(l.ctx, &instances.Call{Code: &code})
	if err != nil {
		l.Fatalf("%.200s: %v", code, err)
	}
	return a
}

func (l *lab) want(i *instances.Instance, code, value string) {
	l.Helper()
	if a := l.exec(i, code); string(a.Value) != value || a.Error != nil {
		l.Errorf("%s: %s, %v; want %s", code, a.Value, a.Error, value)
	}
}

func (l *lab) checkpoint(i *instances.Instance) string {
	l.Helper()
	node, err := i.Checkpoint(l.ctx)
	if err != nil {
		l.Fatal(err)
	}
	return node
}

// becomes deploys a checkpoint as a function, and invokes that twice.
func (l *lab) becomes(node, handler, want string) {
	l.Helper()
	s := dispatcher.FunctionSpec{Name: "lived", Snapshot: node, Handler: handler}
	if _, err := l.d.Deploy(l.ctx, s); err != nil {
		l.Fatal(describe(err))
	}
	for range 2 {
		r, err := l.d.Invoke(l.ctx, dispatcher.Request{Function: "lived", Event: []byte(`{"n":5}`)})
		if err != nil || string(r.Output) != want {
			l.Errorf("deployed from a checkpoint: %+v, %v; want %s", r, err, want)
		}
	}
}

// TestLiveNode and TestLiveRuby: what TestLivePython sees of Python.
func TestLiveNode(t *testing.T) {
	d := openNode(t)
	l := newLab(t, d)
	i := l.create(instances.Spec{Image: "node"})
	l.want(i, "let x = 1; async function handler(event) { x += event.n; return x }", "null")
	l.want(i, "new Promise((f) => setTimeout(() => f(x + 1), 5))", "2")
	if a := l.exec(i, "null.a"); a.Error == nil || a.Error.Type != "TypeError" {
		t.Errorf("%+v", a)
	}
	l.files(i, "require('fs').readFileSync('/tmp/in/f', 'latin1').length")
	node := l.checkpoint(i)
	l.want(i, "x = 100", "100")
	l.copies(i, "Math.random()")
	if err := i.Rollback(l.ctx, node); err != nil {
		t.Fatal(err)
	}
	l.want(i, "x", "1")
	l.becomes(node, "globalThis.handler", "6")
}

func TestLiveRuby(t *testing.T) {
	d := openRuby(t)
	l := newLab(t, d)
	i := l.create(instances.Spec{Image: "ruby"})
	l.want(i, "$x = 1\ndef handler(event:, context:) = $x += event['n']\nnil", "null")
	l.want(i, "$x + 1", "2")
	if a := l.exec(i, "nil + 1"); a.Error == nil {
		t.Errorf("%+v", a)
	}
	l.files(i, "File.size('/tmp/in/f')")
	node := l.checkpoint(i)
	l.want(i, "$x = 100", "100")
	l.copies(i, "rand")
	if err := i.Rollback(l.ctx, node); err != nil {
		t.Fatal(err)
	}
	l.want(i, "$x", "1")
	l.becomes(node, "main.handler", "6")
}

// files copies files into an instance, of which code says the size of one, and out of it.
func (l *lab) files(i *instances.Instance, size string) {
	l.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	content := bytes.Repeat([]byte("seuss!\n"), 300_000) // some batches
	for _, h := range []tar.Header{
		{Typeflag: tar.TypeDir, Name: "d", Mode: 0o750}, {Typeflag: tar.TypeReg, Name: "d/f", Size: int64(len(content)), Mode: 0o640},
		{Typeflag: tar.TypeReg, Name: "d/empty", Mode: 0o600}, {Typeflag: tar.TypeSymlink, Name: "d/l", Linkname: "f"},
	} {
		err := w.WriteHeader(&h)
		if err == nil && h.Size > 0 {
			_, err = w.Write(content)
		}
		if err != nil {
			l.Fatal(err)
		}
	}
	w.Close()
	if err := i.Pause(l.ctx, false); err != nil {
		l.Fatal(err)
	}
	if err := livefiles.Unpack(l.ctx, i, "/tmp/in", &b); err != nil {
		l.Fatal(err)
	}
	l.want(i, size, fmt.Sprint(len(content)))
	if err := livefiles.Pack(l.ctx, i, "/tmp/in", &b, func() {}); err != nil {
		l.Fatal(err)
	}
	got := ""
	for r := tar.NewReader(&b); ; {
		h, err := r.Next()
		if err != nil {
			break
		}
		all, err := io.ReadAll(r)
		if err != nil || h.Name == "in/f" && !bytes.Equal(all, content) {
			l.Errorf("%s: %d bytes, %v", h.Name, len(all), err)
		}
		got += fmt.Sprintf("%s %o %s;", h.Name, h.Mode, h.Linkname)
	}
	if want := "in/ 750 ;in/empty 600 ;in/f 640 ;in/l 777 f;"; got != want {
		l.Errorf("copied out: %s, want %s", got, want)
	}
	for _, path := range []string{"/tmp/none", "/dev/null"} {
		if err := livefiles.Pack(l.ctx, i, path, io.Discard, func() { l.Error("it begins") }); !errors.Is(err, livefiles.ErrFiles) {
			l.Errorf("%s: %v", path, err)
		}
	}
	if err := livefiles.Unpack(l.ctx, i, "/none/at/all", bytes.NewReader(nil)); !errors.Is(err, livefiles.ErrFiles) {
		l.Errorf("where there is no directory: %v", err)
	}
}

// copies forks an instance, whose copies draw numbers of their own.
func (l *lab) copies(i *instances.Instance, draw string) {
	l.Helper()
	list, err := i.Fork(l.ctx, 3, nil)
	if err != nil {
		l.Fatal(err)
	}
	seen := map[string]bool{}
	for _, f := range list {
		fork := l.get(f.Name)
		seen[string(l.exec(fork, draw).Value)] = true
		fork.Remove()
	}
	if len(seen) != len(list) {
		l.Errorf("%d copies draw %v", len(list), seen)
	}
}

// TestLiveTravels: a checkpoint goes to another host as an OCI image, and what it is lives
// on there; it becomes a function, here and there.
func TestLiveTravels(t *testing.T) {
	t.Parallel()
	d := openAt(t, copyState(t), nil)
	l := newLab(t, d)
	i := l.create(instances.Spec{Image: dispatcher.DefaultImage()})
	l.want(i, "seen = ['here']\nopen('/tmp/notes', 'w').write('kept')\ndef handler(event, context):\n  seen.append(event['n'])\n  return [seen, open('/tmp/notes').read()]", "null")
	l.files(i, "__import__('os').stat('/tmp/in/f').st_size")
	node := l.checkpoint(i)
	l.want(i, "seen.append('later')", "null")
	l.becomes(node, "__main__.handler", `[["here", 5], "kept"]`)
	bundle, err := oci.Export(d.Store(), node, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer bundle.Close()
	layout, there := filepath.Join(t.TempDir(), "layout"), t.TempDir()
	if err := oci.WriteLayout(layout, "lab@v1", bundle); err != nil {
		t.Fatal(err)
	}
	s, err := lineage.Open(there, lineage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	src, err := oci.OpenLayout(layout, "")
	if err == nil {
		_, err = oci.Import(s, src, oci.ImportOptions{ABIVersion: guest.KernelVersion})
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	other := newLab(t, openAt(t, there, nil))
	arrived := other.create(instances.Spec{Snapshot: node})
	other.want(arrived, "handler({'n': 'there'}, None)", `[["here", "there"], "kept"]`)
	list, err := arrived.Fork(other.ctx, 2, nil)
	if err != nil {
		t.Fatal(err)
	}
	for n, f := range list {
		other.want(other.get(f.Name), fmt.Sprintf("seen.append(%d)\nseen", n), fmt.Sprintf(`["here", "there", %d]`, n))
	}
	other.becomes(node, "__main__.handler", `[["here", 5], "kept"]`)
}
