package languages

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"seuss/dispatcher"
	"seuss/dispatcher/contracts/httpport"
	"seuss/dispatcher/functions"
	"seuss/guest"
	"seuss/images"
	"seuss/images/runtimes"
	_ "seuss/images/runtimes/all"
	"seuss/images/source"
	_ "seuss/images/source/all"
	"seuss/tools/seussctl/samples/languages"
	"seuss/vmm/vmmtest"
)

var (
	all    = flag.Bool("all", false, "run every program, not only CI's slice")
	strict = flag.Bool("strict", false, "fail where this machine lacks what a program needs")
	only   = flag.String("programs", "", "run these programs only, separated by commas")
)

// times is how often each request is made in a guest: each instance is fresh.
const times = 3

// timeout of a request, and of a program's start.
const timeout = 2 * time.Minute

// port is that of servers in guests.
const port = 8080

// bench is a dispatcher with images of its own.
type bench struct {
	*dispatcher.Dispatcher
	store images.Store
	built map[string]string // names of images, by packages and memory
}

func newBench(t *testing.T) *bench {
	platform := vmmtest.Require(t)
	dir := t.TempDir()
	d, err := dispatcher.Open(dispatcher.Options{StateDir: dir, Platform: platform})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	store := images.Store{Dir: filepath.Join(dir, "images")}
	if err := os.MkdirAll(store.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return &bench{d, store, map[string]string{}}
}

// image makes an image with the packages of a program; without any, one of a loader alone.
func (b *bench) image(t *testing.T, p *program) string {
	t.Helper()
	packages := strings.Join(p.Packages, ",")
	key := fmt.Sprintf("%s in %d MiB", packages, p.MemoryMiB)
	if name, ok := b.built[key]; ok {
		return name
	}
	name := fmt.Sprintf("image%d", len(b.built))
	spec := images.Spec{Files: images.WithMountPoints([]images.File{
		{GuestPath: "/etc/passwd", Data: []byte("root:x:0:0:root:/root:/bin/sh\n"), Mode: 0o644},
	})}
	if len(p.Packages) > 0 {
		found, err := source.Find(t.Context(), "debian:"+packages, source.Options{})
		if err != nil {
			t.Fatal(err)
		}
		tree, config, err := found.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer tree.Close()
		spec = tree.Spec(config)
	}
	spec.Name, spec.Kernel, spec.MemoryBytes = name, guest.Kernel(), p.MemoryMiB<<20
	if _, err := runtimes.Equip(&spec); err != nil {
		t.Fatal(err)
	}
	if _, err := b.store.Add(t.Context(), spec, images.AddOptions{}); err != nil {
		t.Fatal(err)
	}
	b.built[key] = name
	return name
}

func (b *bench) deploy(t *testing.T, p *program, files map[string][]byte) {
	t.Helper()
	if err := b.deployed(t, p, files, true); err != nil {
		t.Fatal(err)
	}
}

// deployed deploys a program, which may have seeded its generators or may not.
func (b *bench) deployed(t *testing.T, p *program, files map[string][]byte, shared bool) error {
	t.Helper()
	spec := dispatcher.FunctionSpec{Name: p.Name, Image: b.image(t, p), Files: languages.WithPort(files, port)}
	spec.Settings = functions.Settings{Environment: p.Environment, TimeoutSec: int(timeout / time.Second), Program: &functions.Program{
		Contract: p.Contract, Command: p.Words(p.Command, port, p.Built), SharedGenerators: shared,
	}}
	if p.Contract == httpport.Name {
		spec.Settings.Program.Port = port
	}
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	_, err := b.Deploy(ctx, spec)
	return err
}

// guestResult is what the function makes of an event.
func (b *bench) guestResult(t *testing.T, p *program, event string) result {
	t.Helper()
	r, err := b.Invoke(t.Context(), dispatcher.Request{Function: p.Name, Event: []byte(event), Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	if r.Path != dispatcher.PathFunction {
		t.Errorf("it started from %s", r.Path)
	}
	if r.Error != nil {
		return result{Type: r.Error.Type, Error: r.Error.Message}
	}
	var v any
	if err := json.Unmarshal(r.Output, &v); err != nil {
		t.Fatal(err)
	}
	return result{Output: v}
}

// door hands requests to a function, as front doors do.
func (b *bench) door(t *testing.T, p *program) *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		proxy := httpport.Proxy{W: w, R: r, Path: r.URL.EscapedPath()}
		got, err := b.Invoke(r.Context(), dispatcher.Request{Function: p.Name, Event: []byte("null"), Timeout: timeout, Exchange: proxy.Exchange})
		switch {
		case err != nil:
			t.Errorf("%s %s: %v", r.Method, r.URL, err)
		case got.Error != nil:
			t.Errorf("%s %s: %v", r.Method, r.URL, got.Error)
		default:
			return
		}
		panic(http.ErrAbortHandler)
	}))
}

// TestLanguages: each program answers in a guest as it does without one, and is as if it had
// just started each time.
func TestLanguages(t *testing.T) {
	b := newBench(t)
	list := programs(t)
	var asked []string
	if *only != "" {
		asked = strings.Split(*only, ",")
	}
	for _, name := range asked {
		if !slices.ContainsFunc(list, func(p program) bool { return p.Name == name }) {
			t.Errorf("-programs: there is no %q", name)
		}
	}
	for _, p := range list {
		if asked != nil && !slices.Contains(asked, p.Name) || asked == nil && !*all && !p.CI {
			continue
		}
		t.Run(p.Name, func(t *testing.T) {
			p.require(t)
			files := p.code(t)
			b.deploy(t, &p, files)
			if p.Contract == httpport.Name {
				b.compareServer(t, &p, files)
			} else {
				b.compareFunction(t, &p, files)
			}
		})
	}
}

func (b *bench) compareServer(t *testing.T, p *program, files map[string][]byte) {
	door := b.door(t, p)
	defer door.Close()
	for _, q := range p.Requests {
		want := p.nativeReply(t, files, q)
		for range times {
			got, err := ask(door.URL, q)
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s %s: %v, %v\nnatively %v", q.Method, q.Path, got, err, want)
			}
		}
	}
}

func (b *bench) compareFunction(t *testing.T, p *program, files map[string][]byte) {
	native := p.nativeOutput
	if p.Contract == "runtimeapi" {
		native = p.nativeEvent
	}
	for _, event := range []string{`{"name": "x"}`, `{"name":"x","fail":true}`, `{"name":"` + strings.Repeat("y", 100) + `"}`} {
		want := native(t, files, event)
		for range times {
			if got := b.guestResult(t, p, event); !reflect.DeepEqual(got, want) {
				t.Errorf("%s: %+v\nnatively %+v", event, got, want)
			}
		}
	}
}
