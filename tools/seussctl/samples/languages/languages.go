// Package languages holds programs of many languages, one a folder of programs: program.json
// says over which contract it is deployed, what it needs and how it is started, the files
// beside it are its code. Package tests/languages holds their answers against those without a
// guest; seussctl bench languages measures both.
//
// Units: memory in MiB.
//
// It keeps no state and has no lock.
package languages

import (
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

//go:embed programs
var embedded embed.FS

// Program is a folder. In Command and in its files @PORT@ stands for the port that a server
// listens on, in Command and Compile OUT for what Compile makes.
type Program struct {
	Name        string            `json:"-"` // of the folder
	Language    string            `json:"language"`
	Contract    string            `json:"contract"`
	Packages    []string          `json:"packages"` // Debian's; none: it runs anywhere
	Compile     []string          `json:"compile"`
	Module      bool              `json:"module"` // Compile needs packages of this module's
	Built       string            `json:"built"`  // name of what Compile makes
	Command     []string          `json:"command"`
	Environment map[string]string `json:"environment"`
	MemoryMiB   uint64            `json:"memory_mib"`
	Requests    []Request         `json:"requests"` // instead of the usual ones
	Ready       string            `json:"ready"`    // path of a server that leaves its counter alone; usually /echo, or the first request's
	CI          bool              `json:"ci"`

	// What its own generators of random numbers are in instances of one snapshot.
	Taken      bool              `json:"taken"`      // without --allow-shared-generators
	Generators map[string]string `json:"generators"` // "same" or each its "own"

	files fs.FS
}

// Request is one to a server.
type Request struct {
	Method string `json:"method"`
	Path   string `json:"path"`
	Body   string `json:"body"`
}

// usual are the requests to servers that name no others.
var usual = []Request{
	{"GET", "/count", ""}, {"GET", "/echo?a=b%20c", ""}, {"POST", "/echo", strings.Repeat("word ", 20000)},
	{"GET", "/parts", ""}, {"GET", "/missing", ""}, {"GET", "/count", ""},
}

// Embedded are the programs that this one carries.
func Embedded() ([]Program, error) {
	files, err := fs.Sub(embedded, "programs")
	if err != nil {
		return nil, err
	}
	return Read(files)
}

// Read reads the programs of a folder, by name.
func Read(files fs.FS) (list []Program, err error) {
	found, err := fs.Glob(files, "*/program.json")
	if err != nil {
		return nil, err
	}
	for _, file := range found {
		text, err := fs.ReadFile(files, file)
		if err != nil {
			return nil, err
		}
		p := Program{Name: path.Dir(file), Built: "built", MemoryMiB: 512}
		if err := json.Unmarshal(text, &p); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if p.Requests == nil {
			p.Requests, p.Ready = usual, "/echo"
		} else if p.Ready == "" {
			p.Ready = p.Requests[0].Path
		}
		if p.files, err = fs.Sub(files, p.Name); err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, nil
}

// compilers are Debian's packages of those that Compile names.
var compilers = map[string]string{"gcc": "gcc and libc6-dev", "go": "golang-go", "javac": "openjdk-17-jdk-headless", "npm": "npm", "rustc": "rustc"}

// Lacks is what this machine has not of what the program needs; "": nothing.
func (p *Program) Lacks() string {
	for _, name := range p.Packages {
		if exec.Command("dpkg-query", "-W", name).Run() != nil {
			return "the Debian package " + name
		}
	}
	if len(p.Compile) > 0 {
		if _, err := exec.LookPath(p.Compile[0]); err != nil {
			return "the compiler " + p.Compile[0] + " (" + compilers[p.Compile[0]] + ")"
		}
	}
	return ""
}

// Code makes the program in an empty directory, and returns its files by their paths. module
// is this module's directory, which only those need that are compiled with its packages.
func (p *Program) Code(dir, module string) (map[string][]byte, error) {
	code, err := read(p.files)
	if err != nil || len(p.Compile) == 0 {
		return code, err
	}
	from, out := filepath.Join(dir, "from"), filepath.Join(dir, "out", p.Built)
	if err := Write(from, code); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return nil, err
	}
	words := p.Words(p.Compile, 0, out)
	c := exec.Command(words[0], words[1:]...)
	if c.Dir, c.Env = from, append(os.Environ(), "CGO_ENABLED=0"); p.Module {
		c.Dir = module
		for i, w := range c.Args {
			if _, ok := code[w]; ok {
				c.Args[i] = filepath.Join(from, w)
			}
		}
	}
	if text, err := c.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%q: %w\n%s", words, err, text)
	}
	return read(os.DirFS(filepath.Dir(out)))
}

// read reads all files but program.json.
func read(files fs.FS) (map[string][]byte, error) {
	code := map[string][]byte{}
	err := fs.WalkDir(files, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || e.Name() == "program.json" {
			return err
		}
		code[name], err = fs.ReadFile(files, name)
		return err
	})
	return code, err
}

// Write writes files below a directory, each of them executable.
func Write(dir string, files map[string][]byte) error {
	if err := os.MkdirAll(dir, 0o755); err != nil { // there may be none
		return err
	}
	for name, content := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		// A child that another goroutine forks meanwhile would have the file open for writing,
		// and nobody could execute it (ETXTBSY).
		syscall.ForkLock.RLock()
		err := os.WriteFile(file, content, 0o755)
		syscall.ForkLock.RUnlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// Words are those of a command.
func (p *Program) Words(command []string, port uint16, out string) []string {
	var words []string
	for _, w := range command {
		words = append(words, strings.NewReplacer("OUT", out, "@PORT@", strconv.Itoa(int(port))).Replace(w))
	}
	return words
}

// WithPort are files as they are for a port.
func WithPort(files map[string][]byte, port uint16) map[string][]byte {
	out := map[string][]byte{}
	for name, content := range files {
		out[name] = []byte(strings.ReplaceAll(string(content), "@PORT@", strconv.Itoa(int(port))))
	}
	return out
}

// Native is the program on this machine, not started yet, in a directory that gets its files.
func (p *Program) Native(dir string, files map[string][]byte, port uint16, environment ...string) (*exec.Cmd, error) {
	if err := Write(dir, WithPort(files, port)); err != nil {
		return nil, err
	}
	words := p.Words(p.Command, port, p.Built)
	if own := filepath.Join(dir, words[0]); !filepath.IsAbs(words[0]) {
		words[0] = own
	}
	c := exec.Command(words[0], words[1:]...)
	c.Dir, c.Env = dir, append(os.Environ(), "LANG=C.UTF-8")
	for name, value := range p.Environment {
		c.Env = append(c.Env, name+"="+value)
	}
	c.Env = append(c.Env, environment...)
	return c, nil
}
