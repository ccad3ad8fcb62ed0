package runtimes

import (
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"strings"

	"seuss/images"
)

// ErrOther: a program has the name of an interpreter and is none.
var ErrOther = errors.New("it is another program")

// maxInterpreter bounds what is read of one file to find a version in it.
const maxInterpreter = 1 << 30

// Interpreter is a file of a root that may be a runtime's interpreter. What it says of
// itself is read, and believed only as far as it is stated again when the driver starts.
type Interpreter struct {
	Root *images.Root
	Path string // as PATH leads to it: programs look at it, such as for a virtual environment
	Real string // with all links followed

	kind   elf.Type
	needed []string
}

// NewInterpreter looks at a program; ErrOther where it is none for x86-64.
func NewInterpreter(root *images.Root, guestPath string) (*Interpreter, error) {
	real, _, err := root.Lookup(guestPath)
	if err != nil {
		return nil, err
	}
	i := &Interpreter{Root: root, Path: guestPath, Real: real}
	return i, i.with(real, func(c io.ReaderAt, _ int64) error {
		f, err := elf.NewFile(c)
		if err != nil || f.Machine != elf.EM_X86_64 || f.Type != elf.ET_EXEC && f.Type != elf.ET_DYN {
			return fmt.Errorf("%s: %w", real, ErrOther)
		}
		i.kind = f.Type
		i.needed, _ = f.ImportedLibraries() // a static program needs none
		return nil
	})
}

// with opens a file of the root for as long as f runs.
func (i *Interpreter) with(guestPath string, f func(c io.ReaderAt, size int64) error) (err error) {
	c, size, done, err := i.Root.Open(guestPath)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	return f(c, size)
}

// Fixed reports whether the program has the addresses at which it was linked.
func (i *Interpreter) Fixed() bool { return i.kind == elf.ET_EXEC }

// libraryDirs are where the dynamic loaders of distributions look.
var libraryDirs = []string{
	"/usr/local/lib", "/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib",
}

// Content reads the program.
func (i *Interpreter) Content(f func(c io.ReaderAt, size int64) error) error {
	return i.with(i.Real, f)
}

// Find looks for a text in the program and then in those of its libraries whose names
// begin with library, and returns the expression's first group, "" if it is nowhere. The
// expression matches at most 64 bytes.
func (i *Interpreter) Find(text *regexp.Regexp, library string) (found string, err error) {
	paths := []string{i.Real}
	for _, name := range i.needed {
		if !strings.HasPrefix(name, library) || strings.Contains(name, "/") {
			continue
		}
		for _, dir := range append([]string{path.Join(path.Dir(i.Real), "../lib")}, libraryDirs...) {
			if p := path.Join(dir, name); i.Has(p) {
				paths = append(paths, p)
				break
			}
		}
	}
	for _, p := range paths {
		err := i.with(p, func(c io.ReaderAt, size int64) error {
			found, err = scan(io.NewSectionReader(c, 0, min(size, maxInterpreter)), text)
			return err
		})
		if found != "" || err != nil {
			return found, err
		}
	}
	return "", nil
}

// Has reports whether there is something at a path of the root.
func (i *Interpreter) Has(guestPath string) bool {
	_, _, err := i.Root.Lookup(guestPath)
	return err == nil
}

// overlap is how much of a piece is looked at again with the next one.
const overlap = 64

func scan(r io.Reader, text *regexp.Regexp) (string, error) {
	buf, kept := make([]byte, 1<<20), 0
	for {
		n, err := io.ReadFull(r, buf[kept:])
		if m := text.FindSubmatch(buf[:kept+n]); m != nil {
			return string(m[1]), nil
		}
		switch {
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			return "", nil
		case err != nil:
			return "", err
		}
		kept = copy(buf, buf[len(buf)-overlap:])
	}
}
