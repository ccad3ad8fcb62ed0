package ruby

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"seuss/images"
	"seuss/images/runtimes"
)

// needRuby skips where this host's Ruby is not Debian's.
func needRuby(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("dpkg-query"); err != nil {
		t.Skip("dpkg-query is not installed")
	}
	if _, err := os.Stat(command); err != nil {
		t.Skip("ruby is not installed")
	}
}

// TestCollect: an image holds the interpreter, library, extensions with what they load,
// gems, time zones and the driver, and says which Ruby it is.
func TestCollect(t *testing.T) {
	needRuby(t)
	spec, err := Runtime.Spec(context.Background(), runtimes.Options{Env: []string{"HOME=/var/task"}})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{spec.Program, "/usr/lib/seuss/ruby/driver.rb"}; !slices.Equal(spec.Argv, want) || !debianBinary.MatchString(spec.Program) {
		t.Errorf("argv %v", spec.Argv)
	}
	if !slices.Contains(spec.Env, "HOME=/var/task") || spec.MemoryBytes != 2<<30 {
		t.Errorf("environment %v, memory of %d bytes", spec.Env, spec.MemoryBytes)
	}
	files := map[string]images.File{}
	for _, f := range spec.Files {
		files[f.GuestPath] = f
	}
	version := strings.TrimPrefix(filepath.Base(spec.Program), "ruby") + ".0"
	library, extensions := "/usr/lib/ruby/"+version, "/usr/lib/x86_64-linux-gnu/ruby/"+version
	for _, p := range []string{
		command, library + "/set.rb", library + "/timeout.rb", library + "/json/common.rb", "/usr/lib/ruby/vendor_ruby/rubygems.rb",
		extensions + "/openssl.so", extensions + "/psych.so", extensions + "/enc/trans/japanese.so",
		"/usr/lib/x86_64-linux-gnu/libssl.so.3", "/usr/lib/x86_64-linux-gnu/libyaml-0.so.2", "/usr/share/zoneinfo/Europe/Berlin",
		"/usr/lib/seuss/ruby/driver.rb", "/usr/lib/seuss/ruby/protocol.rb", "/usr/lib/seuss/ruby/lazy_event.rb",
	} {
		if _, ok := files[p]; !ok {
			if _, resolved := files[strings.TrimPrefix(p, "/usr")]; !resolved {
				t.Errorf("%s is missing", p)
			}
		}
	}
	if p := string(files["/usr/lib/seuss/ruby/protocol.rb"].Data); !strings.Contains(p, "module SeussDriver\n  VERSION = ") || !strings.HasSuffix(p, "\nend\n") {
		t.Errorf("the protocol's constants:\n%s", p)
	}
	for _, name := range []string{"libruby", "libssl3="} {
		if !slices.ContainsFunc(spec.Packages, func(p string) bool { return strings.HasPrefix(p, name) }) {
			t.Errorf("packages %v do not name %s", spec.Packages, name)
		}
	}
}

// TestOtherRuby: an interpreter that is not Debian's is refused by name, and so is none.
func TestOtherRuby(t *testing.T) {
	root := t.TempDir()
	if _, err := Runtime.Spec(context.Background(), runtimes.Options{Root: root}); err == nil || !strings.Contains(err.Error(), "apt-get install ruby") {
		t.Errorf("no Ruby: %v", err)
	}
	if err := os.MkdirAll(filepath.Join(root, "usr/bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, command), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Runtime.Spec(context.Background(), runtimes.Options{Root: root}); err == nil || !strings.Contains(err.Error(), "want Debian's") {
		t.Errorf("another Ruby: %v", err)
	}
}

// TestVersionOf: an image that does not list its runtimes says the version by its program.
func TestVersionOf(t *testing.T) {
	for program, want := range map[string]string{"/usr/bin/ruby3.1": "3.1", "/usr/bin/ruby3.3": "3.3", "/usr/bin/ruby": "", "/opt/ruby3.1": ""} {
		if got := versionOf(images.Config{Program: program}); got != want {
			t.Errorf("%s: %q, want %q", program, got, want)
		}
	}
}
