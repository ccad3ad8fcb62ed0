package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"time"
)

// runTimeout bounds one request to a baseline, which takes milliseconds.
const runTimeout = 30 * time.Second

// Baseline is a way to run the same handler without snapshots. Run sends the
// event and returns the answer.
type Baseline interface {
	Name() string
	Run(ctx context.Context) ([]byte, error)
	Close() error
}

// Handler is a Python function that baselines run natively.
type Handler struct {
	Python string // interpreter
	Module string // its file is Module + ".py"
	Code   []byte
	Event  []byte // JSON
}

// install writes the handler's module into dir.
func (h *Handler) install(dir string) error {
	if err := os.WriteFile(filepath.Join(dir, h.Module+".py"), h.Code, 0o644); err != nil {
		return fmt.Errorf("install %s: %w", h.Module, err)
	}
	return nil
}

// coldProgram does what a deployed function does, from nothing: start Python,
// import the module, read the event, run, print the result.
const coldProgram = `import importlib, json, sys
sys.path.insert(0, sys.argv[1])
handler = importlib.import_module(sys.argv[2]).handler
sys.stdout.write(json.dumps(handler(json.loads(sys.argv[3]), None)))
`

type pythonCold struct {
	handler Handler
	dir     string
}

// NewPythonCold starts an interpreter for every request.
func NewPythonCold(h Handler) (Baseline, error) {
	dir, err := os.MkdirTemp("", "seuss-python-")
	if err != nil {
		return nil, fmt.Errorf("make directory of python-cold: %w", err)
	}
	if err := h.install(dir); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return &pythonCold{h, dir}, nil
}

func (p *pythonCold) Name() string { return "python-cold" }

func (p *pythonCold) Run(ctx context.Context) ([]byte, error) {
	return command(ctx, p.handler.Python, "-c", coldProgram, p.dir, p.handler.Module, string(p.handler.Event))
}

func (p *pythonCold) Close() error { return os.RemoveAll(p.dir) }

// nodeProgram is coldProgram for Node.js.
const nodeProgram = `require(process.argv[1]).handler(JSON.parse(process.argv[2]), {}).then((r) => process.stdout.write(JSON.stringify(r)))`

type nodeStart struct {
	node, dir string
	event     []byte
}

// NewNodeStart starts node for every request, with the module code.
func NewNodeStart(node string, code, event []byte) (Baseline, error) {
	dir, err := os.MkdirTemp("", "seuss-node-")
	if err != nil {
		return nil, fmt.Errorf("make directory of node-start: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "index.js"), code, 0o644); err != nil {
		return nil, errors.Join(fmt.Errorf("install index.js: %w", err), os.RemoveAll(dir))
	}
	return &nodeStart{node, dir, event}, nil
}

func (n *nodeStart) Name() string { return "node-start" }

func (n *nodeStart) Run(ctx context.Context) ([]byte, error) {
	return command(ctx, n.node, "-e", nodeProgram, filepath.Join(n.dir, "index.js"), string(n.event))
}

func (n *nodeStart) Close() error { return os.RemoveAll(n.dir) }

// command runs a program and returns what it printed.
func command(ctx context.Context, name string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, runTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("run %s: %w: %s", name, err, lastLine(stderr.Bytes()))
	}
	return out, nil
}

func lastLine(text []byte) []byte {
	text = bytes.TrimSpace(text)
	return text[bytes.LastIndexByte(text, '\n')+1:]
}

// ErrNoCompiler: there is nothing to compile the C program with.
var ErrNoCompiler = errors.New("no C compiler")

type forkExec struct{ dir, program string }

// NewForkExec compiles a C program, statically linked so that no dynamic
// loader runs, and starts it for every request. The error matches
// ErrNoCompiler if there is no gcc.
func NewForkExec(ctx context.Context, source []byte) (Baseline, error) {
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		return nil, fmt.Errorf("%w: gcc: %w", ErrNoCompiler, err)
	}
	dir, err := os.MkdirTemp("", "seuss-c-")
	if err != nil {
		return nil, fmt.Errorf("make directory of fork-exec-c: %w", err)
	}
	file, program := filepath.Join(dir, "program.c"), filepath.Join(dir, "program")
	err = os.WriteFile(file, source, 0o644)
	if err == nil {
		_, err = command(ctx, gcc, "-O2", "-static", "-o", program, file)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("compile the program of fork-exec-c: %w", err), os.RemoveAll(dir))
	}
	return &forkExec{dir, program}, nil
}

func (f *forkExec) Name() string { return "fork-exec-c" }

// Run reads from a bare pipe: package exec's own goroutines for copying and
// cancelling would take as long as the program itself.
func (f *forkExec) Run(context.Context) ([]byte, error) {
	answer, err := f.run()
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", f.program, err)
	}
	return answer, nil
}

func (f *forkExec) run() ([]byte, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	p, err := os.StartProcess(f.program, []string{f.program}, &os.ProcAttr{Files: []*os.File{nil, w, nil}})
	closeErr := w.Close()
	if err != nil {
		return nil, err
	}
	answer, readErr := io.ReadAll(r)
	state, err := p.Wait()
	if err == nil && !state.Success() {
		err = errors.New(state.String())
	}
	return answer, errors.Join(err, readErr, closeErr)
}

func (f *forkExec) Close() error { return os.RemoveAll(f.dir) }

// SameJSON reports whether two documents have the same content.
func SameJSON(a, b []byte) (bool, error) {
	var x, y any
	for _, d := range []struct {
		text []byte
		into *any
	}{{a, &x}, {b, &y}} {
		if err := json.Unmarshal(d.text, d.into); err != nil {
			return false, fmt.Errorf("decode answer %.80q: %w", d.text, err)
		}
	}
	return reflect.DeepEqual(x, y), nil
}
