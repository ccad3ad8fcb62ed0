package cmdline

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"seuss/dispatcher/http/native/client"
)

// SocketName is the daemon's socket in its state directory: who can write there
// can use the daemon.
const SocketName = "seuss.sock"

// JournalName is the file of asynchronous events in a state directory.
const JournalName = "events.db"

// maxSocketPath is what the kernel takes for a Unix socket's path (unix(7)).
const maxSocketPath = 107

// viaDirectory calls f with a path to a socket that the kernel takes, however
// long the directory's name is.
func viaDirectory[T any](path string, f func(path string) (T, error)) (t T, err error) {
	if len(path) <= maxSocketPath {
		return f(path)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return t, err
	}
	defer dir.Close()
	return f(fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path)))
}

// dialSocket connects to a Unix socket.
func dialSocket(ctx context.Context, path string) (net.Conn, error) {
	return viaDirectory(path, func(path string) (net.Conn, error) {
		return (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "unix", path)
	})
}

// ListenSocket makes a Unix socket that only the user may use. One that is there
// is taken away: the caller holds the state directory, so nobody serves it.
func ListenSocket(path string) (net.Listener, error) {
	if st, err := os.Lstat(path); err == nil && st.Mode().Type() != os.ModeSocket {
		return nil, fmt.Errorf("socket %s: something else is there", path)
	} else if err == nil {
		if conn, err := dialSocket(context.Background(), path); err == nil {
			conn.Close()
			return nil, fmt.Errorf("socket %s: another process serves it", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("socket %s: %w", path, err)
		}
	}
	l, err := viaDirectory(path, func(path string) (net.Listener, error) { return net.Listen("unix", path) })
	if err != nil {
		return nil, fmt.Errorf("socket %s: %w", path, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("socket %s: %w", path, err)
	}
	return l, nil
}

// dialDaemon connects to a socket that this user serves, or root: whoever else
// listens there would get code and events.
func dialDaemon(ctx context.Context, path string) (net.Conn, error) {
	conn, err := dialSocket(ctx, path)
	if err != nil {
		return nil, err
	}
	if err := checkServer(conn); err != nil {
		conn.Close()
		return nil, fmt.Errorf("socket %s: %w", path, err)
	}
	return conn, nil
}

func checkServer(conn net.Conn) error {
	u, ok := conn.(*net.UnixConn)
	if !ok {
		return nil
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return err
	}
	var peer *unix.Ucred
	var peerErr error
	if err := raw.Control(func(fd uintptr) { peer, peerErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return err
	}
	if peerErr != nil {
		return peerErr
	}
	if me := os.Geteuid(); me != 0 && peer.Uid != 0 && int(peer.Uid) != me {
		return fmt.Errorf("user %d serves it, who is neither this user nor root", peer.Uid)
	}
	return nil
}

// Daemon returns a connection to the daemon that holds the state directory, nil
// if there is none.
func (e *Env) Daemon() *client.Client {
	path := filepath.Join(e.StateDir, SocketName)
	conn, err := dialDaemon(context.Background(), path)
	if err != nil {
		return nil
	}
	conn.Close()
	return client.New(func(ctx context.Context) (net.Conn, error) { return dialDaemon(ctx, path) })
}
