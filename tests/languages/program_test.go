package languages

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// program is a folder of programs. In Command and in its files @PORT@ stands for the port
// that a server listens on, in Command and Compile OUT for what Compile makes.
type program struct {
	Name        string            `json:"-"`
	Folder      string            `json:"-"`
	Contract    string            `json:"contract"`
	Packages    []string          `json:"packages"` // Debian's; none: it runs anywhere
	Compile     []string          `json:"compile"`
	Built       string            `json:"built"` // name of what Compile makes
	Command     []string          `json:"command"`
	Environment map[string]string `json:"environment"`
	MemoryMiB   uint64            `json:"memory_mib"`
	Requests    []request         `json:"requests"` // instead of the usual ones
	CI          bool              `json:"ci"`

	// Of folder generators: what its own random numbers are in instances of one snapshot.
	Language   string            `json:"language"`
	Taken      bool              `json:"taken"`      // without --allow-shared-generators
	Generators map[string]string `json:"generators"` // "same" or each its "own"
}

// request is one to a server.
type request struct {
	Method string `json:"method"`
	Path   string `json:"path"`
	Body   string `json:"body"`
}

func programs(t *testing.T) (list []program) { t.Helper(); return programsIn(t, "programs") }

// programsIn reads the programs of a folder.
func programsIn(t *testing.T, folder string) (list []program) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(folder, "*/program.json"))
	if err != nil || len(found) == 0 {
		t.Fatalf("no programs: %v", err)
	}
	for _, file := range found {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		p := program{Name: filepath.Base(filepath.Dir(file)), Folder: filepath.Dir(file), Built: "built", MemoryMiB: 512}
		if err := json.Unmarshal(text, &p); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if p.Requests == nil {
			p.Requests = []request{
				{"GET", "/count", ""}, {"GET", "/echo?a=b%20c", ""}, {"POST", "/echo", strings.Repeat("word ", 20000)},
				{"GET", "/parts", ""}, {"GET", "/missing", ""}, {"GET", "/count", ""},
			}
		}
		list = append(list, p)
	}
	return list
}

// lacks is what this machine has not of what the program needs; "": nothing.
func (p *program) lacks() string {
	for _, name := range p.Packages {
		if exec.Command("dpkg-query", "-W", name).Run() != nil {
			return "the Debian package " + name
		}
	}
	if len(p.Compile) > 0 {
		if _, err := exec.LookPath(p.Compile[0]); err != nil {
			return "the compiler " + p.Compile[0]
		}
	}
	return ""
}

// require skips a test where this machine lacks what the program needs, or fails it.
func (p *program) require(t *testing.T) {
	t.Helper()
	if lacks := p.lacks(); lacks != "" && *strict {
		t.Fatalf("it needs %s: tests/languages/setup.sh", lacks)
	} else if lacks != "" {
		t.Skipf("skipped without %s", lacks)
	}
}

// code makes the program and returns its files, by their paths.
func (p *program) code(t *testing.T) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	from, out := p.Folder, filepath.Join(t.TempDir(), p.Built)
	if len(p.Compile) > 0 {
		words := p.words(p.Compile, 0, out)
		c := exec.Command(words[0], words[1:]...)
		c.Dir, c.Env = from, append(os.Environ(), "CGO_ENABLED=0")
		if text, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%q: %v\n%s", words, err, text)
		}
		from = filepath.Dir(out)
	}
	err := filepath.WalkDir(from, func(file string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || e.Name() == "program.json" {
			return err
		}
		name, err := filepath.Rel(from, file)
		if err == nil {
			files[name], err = os.ReadFile(file)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// words are those of a command.
func (p *program) words(command []string, port uint16, out string) []string {
	var words []string
	for _, w := range command {
		words = append(words, strings.NewReplacer("OUT", out, "@PORT@", strconv.Itoa(int(port))).Replace(w))
	}
	return words
}

// withPort are files as they are for a port.
func withPort(files map[string][]byte, port uint16) map[string][]byte {
	out := map[string][]byte{}
	for name, content := range files {
		out[name] = []byte(strings.ReplaceAll(string(content), "@PORT@", strconv.Itoa(int(port))))
	}
	return out
}

// native is the program on this machine, not started yet, in a directory with its files.
func (p *program) native(t *testing.T, files map[string][]byte, port uint16, environment ...string) *exec.Cmd {
	t.Helper()
	dir := t.TempDir()
	for name, content := range withPort(files, port) {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		// A child that another goroutine forks meanwhile would have the file open for writing,
		// and nobody could execute it (ETXTBSY).
		syscall.ForkLock.RLock()
		err := os.WriteFile(file, content, 0o755)
		syscall.ForkLock.RUnlock()
		if err != nil {
			t.Fatal(err)
		}
	}
	words := p.words(p.Command, port, p.Built)
	if own := filepath.Join(dir, words[0]); !filepath.IsAbs(words[0]) {
		words[0] = own
	}
	c := exec.Command(words[0], words[1:]...)
	c.Dir, c.Env = dir, append(os.Environ(), "LANG=C.UTF-8")
	for name, value := range p.Environment {
		c.Env = append(c.Env, name+"="+value)
	}
	c.Env = append(c.Env, environment...)
	return c
}

// freePort is one that nobody listens on.
func freePort(t *testing.T) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return uint16(l.Addr().(*net.TCPAddr).Port)
}

func local(port uint16) string { return fmt.Sprintf("127.0.0.1:%d", port) }
