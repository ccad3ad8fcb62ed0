package runtimes

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Requirements say how a language's own installer fetches what a file asks for, on the host
// and for the interpreter of an image. Nothing that is fetched is run, unless a user allows
// scripts.
type Requirements struct {
	File string // pattern of the file's name, as of path.Match
	// FindLinks: archives in a directory can be taken in place of an index; Scripts: what
	// packages run when they are installed can be allowed.
	FindLinks, Scripts bool
	// Install fetches and unpacks.
	Install func(context.Context, Install) (*Fetched, error)
}

// Install is what is to be installed.
type Install struct {
	File         string // that asks for packages
	Dir          string // empty, for whatever it takes; the caller removes it
	FindLinks    []string
	AllowScripts bool
	Version      string // of the interpreter
	Musl         bool   // the image's C library is musl
}

// Fetched are files that were fetched, and whose they are.
type Fetched struct {
	Dir   string
	Below string // guest path that they belong to, without the leading slash
	// Owner is the package of a file, by its slash-separated path in Dir.
	Owner func(name string) string
}

// RequirementsFor returns the runtime whose packages a file asks for, by its name; nil if
// there is none.
func RequirementsFor(file string) *Runtime {
	for _, r := range all {
		if q := r.Requirements; q != nil {
			if ok, _ := filepath.Match(q.File, filepath.Base(file)); ok {
				return r
			}
		}
	}
	return nil
}

// RequirementFiles names what RequirementsFor knows.
func RequirementFiles() (names []string) {
	for _, r := range all {
		if r.Requirements != nil {
			names = append(names, r.Requirements.File)
		}
	}
	return names
}

// maxSaid bounds what is kept of what an installer says.
const maxSaid = 64 << 10

// RunInstaller runs a program that fetches; what it complains of is in the error.
func RunInstaller(ctx context.Context, dir string, words ...string) error {
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Dir, cmd.Env = dir, os.Environ()
	var said tail
	cmd.Stdout, cmd.Stderr = &said, &said
	err := cmd.Run()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w: %s", filepath.Base(words[0]), err, reason(said.String()))
}

// reason is what matters of a program's complaint, in one line.
func reason(said string) string {
	var lines []string
	for line := range strings.Lines(said) {
		line = strings.TrimSpace(line)
		for _, mark := range []string{"ERROR: ", "npm error ", "npm ERR! "} {
			if rest, ok := strings.CutPrefix(line, mark); ok && !strings.Contains(rest, "complete log") && strings.TrimSpace(rest) != "" {
				lines = append(lines, rest)
			}
		}
	}
	if len(lines) == 0 {
		if said = strings.TrimSpace(said); said == "" {
			return "it does not say why"
		}
		return said[strings.LastIndexByte(said, '\n')+1:]
	}
	return strings.Join(lines[max(0, len(lines)-4):], "; ")
}

// tail keeps the end of what is written.
type tail struct{ bytes.Buffer }

func (t *tail) Write(b []byte) (int, error) {
	if t.Len()+len(b) > 2*maxSaid {
		t.Next(t.Len() - min(t.Len(), maxSaid))
	}
	t.Buffer.Write(b[max(0, len(b)-maxSaid):])
	return len(b), nil
}
