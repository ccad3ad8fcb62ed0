package images

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// HostOptions say what goes into an image around one program of this host.
type HostOptions struct {
	Name        string   // of the image
	Program     string   // path on this host, and in the guest
	Trees       []string // directories to take along, where the host has them
	Args        []string // arguments behind the program, and before the driver's Main
	Kernel      []byte   // the kernel library, see Spec.Kernel
	MemoryBytes uint64   // see Spec.MemoryBytes
	Driver      map[string][]byte
	Main        string   // the key of Driver that the program runs; "" = none
	Env         []string // added to the environment, or replacing a default
	Labels      map[string]string
	// Root is the host directory of the file system to collect from, with the
	// database of dpkg in it; "" = the host's own.
	Root string
	// Check are the arguments of the program's trial, see Spec.Check; nil = none.
	Check []string
}

// hostEnv is the default environment, see pythonEnv.
var hostEnv = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/root", "LANG=C.UTF-8", "MALLOC_ARENA_MAX=1"}

// Host returns the Spec of an image with one program of this host and every
// shared object that it needs.
func Host(ctx context.Context, opts HostOptions) (Spec, error) {
	spec, err := host(ctx, opts)
	if err != nil {
		return Spec{}, fmt.Errorf("collect an image of %s: %w", opts.Program, err)
	}
	return spec, nil
}

func host(ctx context.Context, opts HostOptions) (Spec, error) {
	db, err := readPackages(ctx, opts.Root)
	if err != nil {
		return Spec{}, err
	}
	c, env := newCollector(opts.Root), MergeEnv(hostEnv, opts.Env)
	c.libraryPath = lookupEnv(env, libraryPathVariable)
	exe, err := c.addPath(opts.Program)
	if err != nil {
		return Spec{}, err
	}
	for _, dir := range opts.Trees {
		if err := c.addTree(dir); err != nil {
			return Spec{}, err
		}
	}
	if err := c.addRuntimeFiles(); err != nil {
		return Spec{}, err
	}
	if err := c.closeOver(ctx, exe); err != nil {
		return Spec{}, err
	}
	main, err := c.addDriver(opts.Driver, opts.Main)
	if err != nil {
		return Spec{}, err
	}
	packages, err := c.packages(ctx, db, nil, []string{exe})
	if err != nil {
		return Spec{}, err
	}
	var check []string
	if opts.Check != nil {
		check = append([]string{exe}, opts.Check...)
	}
	argv := append([]string{exe}, opts.Args...)
	if main != "" {
		argv = append(argv, main)
	}
	return Spec{
		Name: opts.Name, Program: exe, Argv: argv, Env: env,
		MemoryBytes: opts.MemoryBytes, Kernel: opts.Kernel, Files: c.sorted(),
		Driver: main, Packages: packages, Labels: opts.Labels, Check: check,
	}, nil
}

// nodeMemory is the guest RAM of a Node.js image: V8 reserves address space for
// code and heap in large pieces, and touches little of it.
const nodeMemory = 2 << 30

// wasmFlag keeps V8 from reserving 8 GiB around each WebAssembly memory, whose parts
// take exits to be opened: bounds are checked in the code instead. Node.js knows it
// since 20.15 and 22.2.
const wasmFlag = "--disable-wasm-trap-handler"

// Node completes options for an image of this host's Node.js, the one that Program
// names or else NodePath's: its binary and libraries, and what Debian's package keeps
// outside of them.
func Node(ctx context.Context, opts HostOptions) (Spec, error) {
	if opts.Program == "" {
		exe, err := nodePath(opts.Root)
		if err != nil {
			return Spec{}, fmt.Errorf("collect a Node.js image: %w", err)
		}
		opts.Program = exe
	}
	opts.Trees = append(slices.Clone(opts.Trees), "/usr/share/nodejs/acorn", "/usr/share/nodejs/acorn-walk", "/usr/share/nodejs/cjs-module-lexer", "/usr/share/nodejs/undici")
	if opts.Name == "" {
		opts.Name = "node"
	}
	opts.Check = []string{"-e", "require('crypto'); require('zlib'); require('http')"}
	if opts.MemoryBytes == 0 {
		opts.MemoryBytes = nodeMemory
	}
	spec, err := Host(ctx, opts)
	if err != nil {
		return Spec{}, err
	}
	for _, f := range spec.Files {
		base := filepath.Base(f.GuestPath)
		if f.HostPath == "" || base != "node" && base != "nodejs" && !strings.HasPrefix(base, "libnode.so") {
			continue
		}
		has, err := fileHas(f.HostPath, wasmFlag)
		if err != nil {
			return Spec{}, fmt.Errorf("collect a Node.js image: %w", err)
		}
		if has {
			spec.Argv = slices.Insert(spec.Argv, 1, wasmFlag)
			spec.Check = slices.Insert(spec.Check, 1, wasmFlag)
			break
		}
	}
	return spec, nil
}

// NodePath returns the path of this host's Node.js.
func NodePath() (string, error) { return nodePath("") }

func nodePath(root string) (string, error) {
	exe, err := findOnPath(root, "node")
	if err != nil {
		return "", fmt.Errorf("%w; install it with: apt-get install nodejs", err)
	}
	return exe, nil
}

// Lua completes options for an image of this host's Lua 5.4, or of Program.
func Lua(ctx context.Context, opts HostOptions) (Spec, error) {
	if opts.Program == "" {
		exe, err := findOnPath(opts.Root, "lua5.4")
		if err != nil {
			return Spec{}, fmt.Errorf("collect a Lua image: %w; install it with: apt-get install lua5.4", err)
		}
		opts.Program = exe
	}
	opts.Trees = append(slices.Clone(opts.Trees), "/usr/share/lua/5.4", "/usr/lib/x86_64-linux-gnu/lua/5.4", "/usr/local/share/lua/5.4", "/usr/local/lib/lua/5.4")
	if opts.Name == "" {
		opts.Name = "lua"
	}
	opts.Check = []string{"-e", ""}
	return Host(ctx, opts)
}

// findOnPath finds a program in the directories of distributions, and follows
// links such as those of update-alternatives.
func findOnPath(root, name string) (string, error) {
	c := newCollector(root)
	for _, dir := range []string{"/usr/bin", "/usr/local/bin"} {
		exe, _, err := c.walk(path.Join(dir, name), nil)
		if err == nil {
			return exe, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	return "", fmt.Errorf("neither /usr/bin/%s nor /usr/local/bin/%s exists", name, name)
}

// fileHas reports whether a file contains a string.
func fileHas(name, text string) (bool, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return false, err
	}
	return bytes.Contains(b, []byte(text)), nil
}
