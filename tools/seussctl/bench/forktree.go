package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/prometheus/procfs"
)

// treeTimeout bounds the imports of one process of a tree, which take seconds.
const treeTimeout = 5 * time.Minute

// leastFree is the part of the host's memory below which no further process is added.
const leastFree = 0.1

// ErrHostFull: the host has no memory for another process of a tree.
var ErrHostFull = errors.New("the host has no memory for another process")

// ForkTree is a tree of import nodes as Python processes, each of which forks for every
// request.
type ForkTree struct {
	dir    string
	cmd    *exec.Cmd
	stderr bytes.Buffer
	nodes  []int // process ids; the first is the root's
	before uint64
}

// NewForkTree starts the root, which has imported nothing; script is the server. Its
// memory counts for none of the nodes.
func NewForkTree(ctx context.Context, python string, script []byte) (*ForkTree, error) {
	dir, err := os.MkdirTemp("", "seuss-tree-")
	if err != nil {
		return nil, fmt.Errorf("make directory of a tree of processes: %w", err)
	}
	t := &ForkTree{dir: dir}
	if err := t.start(ctx, python, script); err != nil {
		return nil, errors.Join(fmt.Errorf("start a tree of processes: %w", err), t.Close())
	}
	return t, nil
}

func (t *ForkTree) start(ctx context.Context, python string, script []byte) error {
	server := filepath.Join(t.dir, "zygote-tree.py")
	if err := os.WriteFile(server, script, 0o644); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, python, "-s", server, t.socket(0))
	cmd.Stderr, cmd.WaitDelay = &t.stderr, runTimeout
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Close ends all of them
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	t.cmd, t.nodes = cmd, []int{cmd.Process.Pid}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		return fmt.Errorf("it did not come up: %w", err)
	}
	t.before, err = proportional(t.nodes)
	return err
}

// socket is where a process listens.
func (t *ForkTree) socket(n int) string { return filepath.Join(t.dir, strconv.Itoa(n)) }

// Len is the number of processes, the root included.
func (t *ForkTree) Len() int { return len(t.nodes) }

// Grow adds a process below another one that has imported modules, and returns its number.
func (t *ForkTree) Grow(ctx context.Context, parent int, modules []string) (int, error) {
	if fs, err := procfs.NewDefaultFS(); err == nil {
		m, err := fs.Meminfo()
		if err == nil && m.MemAvailableBytes != nil && m.MemTotalBytes != nil && float64(*m.MemAvailableBytes) < leastFree*float64(*m.MemTotalBytes) {
			return 0, ErrHostFull
		}
	}
	n := len(t.nodes)
	answer, err := t.ask(ctx, parent, map[string]any{"socket": t.socket(n), "modules": modules})
	var of struct {
		PID int `json:"pid"`
	}
	if err == nil {
		err = json.Unmarshal(answer, &of)
	}
	if err == nil && of.PID <= 0 {
		err = fmt.Errorf("its process is %d", of.PID)
	}
	if err != nil {
		return 0, fmt.Errorf("process with %v: %w", modules, err)
	}
	t.nodes = append(t.nodes, of.PID)
	return n, nil
}

// Run has a child of a process run code, and returns what its handler does. It may be called
// by several at a time.
func (t *ForkTree) Run(ctx context.Context, node int, code []byte) (json.RawMessage, error) {
	return t.ask(ctx, node, map[string]any{"code": string(code)})
}

func (t *ForkTree) ask(ctx context.Context, node int, request map[string]any) (json.RawMessage, error) {
	document, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	d := net.Dialer{Timeout: treeTimeout}
	conn, err := d.DialContext(ctx, "unix", t.socket(node))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(treeTimeout)); err != nil {
		return nil, err
	}
	if _, err := conn.Write(document); err != nil {
		return nil, err
	}
	if err := conn.(*net.UnixConn).CloseWrite(); err != nil {
		return nil, err
	}
	answer, err := io.ReadAll(io.LimitReader(conn, maxAnswer))
	if err != nil {
		return nil, err
	}
	var failed struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(answer, &failed) == nil && failed.Error != "" {
		return nil, errors.New(failed.Error)
	}
	if len(answer) == 0 {
		return nil, io.ErrUnexpectedEOF // the process died
	}
	return answer, nil
}

// Bytes is what the nodes take beyond the root: proportional set sizes, which count a page
// that several processes share once in all.
func (t *ForkTree) Bytes() (uint64, error) {
	now, err := proportional(t.nodes)
	return now - min(t.before, now), err
}

// proportional sums up the memory of processes and their page tables.
func proportional(pids []int) (sum uint64, err error) {
	for _, pid := range pids {
		p, err := procfs.NewProc(pid)
		if err != nil {
			return 0, fmt.Errorf("process %d of a tree has ended: %w", pid, err)
		}
		maps, err := p.ProcSMapsRollup()
		if err != nil {
			return 0, fmt.Errorf("memory of process %d: %w", pid, err)
		}
		status, err := p.NewStatus()
		if err != nil {
			return 0, fmt.Errorf("status of process %d: %w", pid, err)
		}
		sum += maps.Pss + status.VmPTE
	}
	return sum, nil
}

// Close ends all processes, and says what they have complained of if the root had ended.
func (t *ForkTree) Close() error {
	var err error
	if t.cmd != nil {
		if t.cmd.ProcessState == nil {
			_ = syscall.Kill(-t.cmd.Process.Pid, syscall.SIGKILL) // gone already is as good
		}
		_ = t.cmd.Wait() // it was killed
		t.cmd = nil
	}
	return errors.Join(err, os.RemoveAll(t.dir))
}
