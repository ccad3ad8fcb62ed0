package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"time"
)

// ErrNoRedis: there is no redis-server.
var ErrNoRedis = errors.New("there is no redis-server (tools/setup.sh redis, or apt-get install redis-server)")

// Redis is a server of Debian's that keeps nothing on the disk.
type Redis struct{ cmd *exec.Cmd }

// StartRedis starts one that listens on a Unix socket alone.
func StartRedis(ctx context.Context, socket string) (*Redis, error) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, ErrNoRedis
	}
	r := &Redis{exec.CommandContext(ctx, path, "--port", "0", "--unixsocket", socket, "--unixsocketperm", "700", "--save", "", "--appendonly", "no", "--daemonize", "no", "--dir", filepath.Dir(socket))}
	if err := r.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start redis-server: %w", err)
	}
	for end := time.Now().Add(runTimeout); ; time.Sleep(5 * time.Millisecond) {
		c, err := net.Dial("unix", socket)
		if err == nil {
			return r, c.Close()
		}
		if time.Now().After(end) || ctx.Err() != nil {
			r.Close()
			return nil, fmt.Errorf("redis-server does not come up: %w", err)
		}
	}
}

// Close ends it. Errors are those of a process that has ended, and that it was killed.
func (r *Redis) Close() {
	_ = r.cmd.Process.Kill()
	_ = r.cmd.Wait()
}
