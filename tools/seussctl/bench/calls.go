package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// RunScript runs a Python program with arguments and returns what it prints.
func RunScript(ctx context.Context, python string, script []byte, args ...string) (out []byte, err error) {
	dir, err := os.MkdirTemp("", "seuss-script-")
	if err != nil {
		return nil, fmt.Errorf("make directory of script: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := filepath.Join(dir, "main.py")
	if err := os.WriteFile(path, script, 0o600); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*runTimeout)
	defer cancel()
	out, err = exec.CommandContext(ctx, python, append([]string{path}, args...)...).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("%w: %s", err, lastLine(exit.Stderr))
	}
	return out, err
}

// ZygoteCalls are what a Python process has waited for children of a zygote.
type ZygoteCalls struct {
	Row    []time.Duration // one after the other
	AtOnce time.Duration   // all of several
}

// CallZygote has a Python process, the caller, ask a zygote for row events one after the other,
// and then for atOnce together, over a Unix socket.
func CallZygote(ctx context.Context, script, caller []byte, h Handler, row, atOnce int) (_ *ZygoteCalls, err error) {
	b, err := NewZygote(ctx, script, h)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	z := b.(*zygote)
	err, z.conn = z.conn.Close(), nil // it serves one at a time
	if err != nil {
		return nil, err
	}
	out, err := RunScript(ctx, h.Python, caller, filepath.Join(z.dir, "socket"), strconv.Itoa(row), strconv.Itoa(atOnce), string(h.Event))
	if err != nil {
		return nil, fmt.Errorf("call the zygote: %w", err)
	}
	var told struct {
		Row    []time.Duration `json:"row"`
		AtOnce time.Duration   `json:"at_once"`
	}
	if err := json.Unmarshal(out, &told); err != nil || len(told.Row) != row {
		return nil, fmt.Errorf("call the zygote: it tells %.100q: %w", out, err)
	}
	return &ZygoteCalls{told.Row, told.AtOnce}, nil
}
