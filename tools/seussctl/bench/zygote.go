package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// maxAnswer bounds what a zygote may answer, in bytes.
const maxAnswer = 1 << 20

type zygote struct {
	dir    string
	event  []byte
	cmd    *exec.Cmd
	stderr bytes.Buffer
	conn   net.Conn
}

// NewZygote starts a Python process with the handler's module imported, which
// forks for every request; script is the server.
func NewZygote(ctx context.Context, script []byte, h Handler) (Baseline, error) {
	dir, err := os.MkdirTemp("", "seuss-zygote-")
	if err != nil {
		return nil, fmt.Errorf("make directory of zygote: %w", err)
	}
	z := &zygote{dir: dir}
	z.event = append(binary.LittleEndian.AppendUint32(nil, uint32(len(h.Event))), h.Event...)
	if err := z.start(ctx, script, h); err != nil {
		return nil, errors.Join(fmt.Errorf("start zygote: %w", err), z.Close())
	}
	return z, nil
}

func (z *zygote) start(ctx context.Context, script []byte, h Handler) error {
	if err := h.install(z.dir); err != nil {
		return err
	}
	server, socket := filepath.Join(z.dir, "zygote-server.py"), filepath.Join(z.dir, "socket")
	if err := os.WriteFile(server, script, 0o644); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, h.Python, server, socket, z.dir, h.Module)
	cmd.Stderr = &z.stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	z.cmd = cmd
	// It says when it listens; if it dies instead, the pipe closes.
	if _, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
		z.stop() // completes what it wrote to stderr
		return fmt.Errorf("it did not come up: %w: %s", err, lastLine(z.stderr.Bytes()))
	}
	z.conn, err = net.DialTimeout("unix", socket, runTimeout)
	return err
}

func (z *zygote) Name() string { return "zygote" }

func (z *zygote) Run(context.Context) ([]byte, error) {
	if err := z.conn.SetDeadline(time.Now().Add(runTimeout)); err != nil {
		return nil, fmt.Errorf("zygote: %w", err)
	}
	if _, err := z.conn.Write(z.event); err != nil {
		return nil, fmt.Errorf("send to zygote: %w", err)
	}
	var head [4]byte
	if _, err := io.ReadFull(z.conn, head[:]); err != nil {
		return nil, fmt.Errorf("read zygote's answer: %w", err)
	}
	n := binary.LittleEndian.Uint32(head[:])
	if n > maxAnswer {
		return nil, fmt.Errorf("zygote answers %d bytes, at most %d", n, maxAnswer)
	}
	answer := make([]byte, n)
	if got, err := io.ReadFull(z.conn, answer); err != nil {
		return nil, fmt.Errorf("read zygote's answer: got %d of %d bytes: %w", got, n, err)
	}
	return answer, nil
}

// stop ends the process. Errors are those of a process that has ended already,
// and that it was killed.
func (z *zygote) stop() {
	if z.cmd != nil {
		_ = z.cmd.Process.Kill()
		_ = z.cmd.Wait()
		z.cmd = nil
	}
}

func (z *zygote) Close() error {
	var err error
	if z.conn != nil {
		err = z.conn.Close()
	}
	z.stop()
	return errors.Join(err, os.RemoveAll(z.dir))
}
