package app

import (
	"cmp"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher"
	"seuss/dispatcher/instance"
	"seuss/guest"
	"seuss/images"
	"seuss/images/source"
)

// Exit codes of a run program that has none of its own, as env(1), timeout(1)
// and shells give them.
const (
	exitProgramTimeout  = 124
	exitProgramFailure  = 125 // seussctl's own, or the machine's
	exitProgramNotFound = 127
	exitProgramSignal   = 128 // and the signal's number
)

const (
	programPath    = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	maxProgramArgs = guest.ArgsSize
)

func programFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "env", Usage: "environment `KEY=VALUE` of a program, may be repeated"},
		&cli.StringFlag{Name: "memory", Usage: "guest memory of a program, a `SIZE` such as 2GiB (default: the image's; 1GiB for dir:PATH and other sources)"},
	}
}

// isProgram tells a program of an image from a function's file.
func (e *env) isProgram(c *cli.Context) bool {
	return source.IsReference(c.String("image")) || c.IsSet("image") && e.dashed
}

// runProgram runs a program; whatever fails before it, but wrong usage, is 125.
func (e *env) runProgram(c *cli.Context) error {
	for _, name := range []string{"handler", "import", "lazy-args", "event", "timings"} {
		if c.IsSet(name) {
			return usagef(c.Command.HelpName, "--%s is for functions, not for a program", name)
		}
	}
	if err := checkTimeout(c); err != nil {
		return err
	}
	p := instance.Program{Args: c.Args().Slice()}
	for _, v := range c.StringSlice("env") {
		if name, _, ok := strings.Cut(v, "="); !ok || name == "" {
			return usagef(c.Command.HelpName, "--env %q: want KEY=VALUE", v)
		}
		p.Env = append(p.Env, v)
	}
	if c.IsSet("memory") {
		memory, err := parseMemory(c.String("memory"))
		if err != nil {
			return usagef(c.Command.HelpName, "--memory: %w", err)
		}
		p.MemoryBytes = memory
	}
	if c.IsSet("timeout") {
		p.Timeout = c.Duration("timeout")
	}
	network, err := readNetwork(c)
	if err != nil {
		return err
	}
	p.Network = network
	err = e.runInImage(c.Context, c.String("image"), p)
	var exit *programExit
	switch {
	case err == nil || errors.As(err, &exit):
		return err
	case errors.Is(err, dispatcher.ErrTimeout):
		return &programExit{exitProgramTimeout, err}
	}
	return &programExit{exitProgramFailure, err}
}

func (e *env) runInImage(ctx context.Context, ref string, p instance.Program) (err error) {
	image, err := e.programImage(ctx, ref, p.Args[0])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, image.Close()) }()
	p.Image = image
	env := []string{"PATH=" + programPath, "HOME=/root"}
	if source.IsReference(ref) { // what the source says of the program's environment
		env = images.MergeEnv(env, image.Config().Env)
	}
	p.Env = images.MergeEnv(env, p.Env)
	if p.Args[0], err = findProgram(image, p.Args[0]); err != nil {
		return &programExit{exitProgramNotFound, err}
	}
	platform, err := e.openPlatform()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, platform.Close()) }()
	var out programOutput
	p.Output = func(fd uint16, text []byte) { out.write(e, fd, text) }
	e.progress.clear()
	r, err := instance.RunProgram(ctx, platform, p)
	if err = errors.Join(err, out.err); err != nil {
		return err
	}
	code := r.Status
	if r.Signal != 0 {
		code = exitProgramSignal + r.Signal
	}
	if !e.json {
		e.noteRefused(r.NetworkRefused)
	}
	if e.json {
		err := e.printJSON(struct {
			ExitCode    int               `json:"exit_code"`
			Signal      int               `json:"signal,omitempty"`
			Stdout      string            `json:"stdout"`
			Stderr      string            `json:"stderr"`
			Crash       string            `json:"crash,omitempty"`
			Unsupported map[string]uint32 `json:"unsupported_calls,omitempty"`
			Refused     map[string]uint32 `json:"network_refused,omitempty"`
		}{code, r.Signal, out.stdout.String(), out.stderr.String(), r.Report, r.Unsupported, r.NetworkRefused})
		return errors.Join(err, exitCode(code))
	}
	if r.Report != "" {
		fmt.Fprintf(e.stderr, "seussctl: %s\n", strings.TrimRight(r.Report, "\n"))
	}
	if calls := formatCalls(r.Unsupported); calls != "" && r.Report != "" {
		e.notef("system calls refused with ENOSYS: %s", calls)
	}
	return exitCode(code)
}

func exitCode(code int) error {
	if code == 0 {
		return nil
	}
	return &programExit{code: code}
}

// programOutput passes on what a program writes, or keeps it for a JSON document.
type programOutput struct {
	stdout, stderr strings.Builder
	err            error
}

func (o *programOutput) write(e *env, fd uint16, text []byte) {
	var w io.Writer
	switch {
	case fd == 1 && e.json:
		w = &o.stdout
	case e.json:
		w = &o.stderr
	case fd == 1:
		w = e.stdout
	default:
		w = e.stderr
	}
	if _, err := w.Write(text); err != nil && o.err == nil {
		o.err = fmt.Errorf("pass on the program's output: %w", err)
	}
}

// findProgram returns the path of a program in the image.
func findProgram(image *images.Image, name string) (string, error) {
	for _, p := range programPaths(name) {
		if found, err := image.Lookup(p); err == nil && found.Inode.IsRegular() {
			return p, nil
		}
	}
	return "", fmt.Errorf("the image holds no program %s", name)
}

// programPaths are where a program may lie: a name without a slash is looked up as a
// shell would, in the image's directories.
func programPaths(name string) []string {
	if strings.Contains(name, "/") {
		return []string{path.Join("/", name)}
	}
	var paths []string
	for dir := range strings.SplitSeq(programPath, ":") {
		paths = append(paths, path.Join(dir, name))
	}
	return paths
}

// fixedProgram returns the path of a program of a tree if it is linked for fixed
// addresses, else "". An image shows such a program in its place, so the kernel library
// need not copy it there.
func fixedProgram(files []images.File, name string) string {
	byPath := map[string]string{}
	for _, f := range files {
		byPath[f.GuestPath] = f.HostPath
	}
	for _, p := range programPaths(name) {
		host := byPath[p]
		if host == "" {
			continue
		}
		f, err := elf.Open(host)
		if err != nil {
			return ""
		}
		defer f.Close()
		if f.Type == elf.ET_EXEC && f.Machine == elf.EM_X86_64 {
			return p
		}
		return ""
	}
	return ""
}

// programImage opens a stored image, or builds one from a source that lasts as long as
// it is open. program is what will be run.
func (e *env) programImage(ctx context.Context, ref, program string) (img *images.Image, err error) {
	if !source.IsReference(ref) {
		if err := e.ensureImage(ctx, ref); err != nil {
			return nil, err
		}
		file, err := e.images().Find(ref)
		if err != nil {
			return nil, err
		}
		return images.Open(file)
	}
	tree, config, err := source.Open(ctx, ref, source.Options{Progress: e.progress.step})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, tree.Close()) }()
	scheme, _, _ := strings.Cut(ref, ":")
	spec := images.Spec{
		Name: cmp.Or(tree.Name, scheme), Kernel: guest.Kernel(), MemoryBytes: programMemory, Env: config.Env,
		Program: fixedProgram(tree.Files, program), Files: images.WithMountPoints(tree.Files), Packages: tree.Packages,
	}
	if tree.Skipped > 0 {
		e.notef("%s: left out %d devices, sockets and FIFOs", ref, tree.Skipped)
	}
	return images.BuildTemporary(ctx, e.stateDir, spec, e.buildProgress)
}

// programMemory is the guest RAM of a program from a source: room for what Go's
// runtime and allocators like it reserve and never touch.
const programMemory = 1 << 30
