package sealed

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrLocked: another process has the directory open for writing.
var ErrLocked = errors.New("state directory is in use")

// lockAttempts bounds how often a lock file is taken that is another one by then: once for
// one that others could open, and some for processes that do the same.
const lockAttempts = 8

// Lock makes this process the one that may write below path's directory, until the
// file that it returns is closed. The kernel drops the lock when the process ends,
// however it ends. The error matches ErrLocked, and names the process, if another one
// has it.
func Lock(path string) (*os.File, error) {
	// A lock file that is there already may be written where nothing else can.
	dir := filepath.Dir(path)
	if err := unix.Faccessat(unix.AT_FDCWD, dir, unix.W_OK, unix.AT_EACCESS); errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EROFS) {
		return nil, WritableError(&fs.PathError{Op: "write to", Path: dir, Err: err})
	}
	for range lockAttempts {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, OpenMode)
		if errors.Is(err, unix.ELOOP) {
			return nil, fmt.Errorf("lock %s: it is a link, which somebody else has put there: remove it: %w", path, err)
		}
		if err != nil {
			return nil, WritableError(err)
		}
		last, err := take(f, path)
		if last && err == nil {
			return f, nil
		}
		f.Close()
		if err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("lock %s: the file is another one whenever it is locked: something replaces it", path)
}

// take locks a lock file and says whether that was the last word: not so where the
// file has another name by now, or none.
func take(f *os.File, path string) (last bool, err error) {
	err = flock(f)
	if errors.Is(err, unix.EWOULDBLOCK) {
		holder := "another process"
		if b, readErr := os.ReadFile(path); readErr == nil {
			if pid, convErr := strconv.Atoi(strings.TrimSpace(string(b))); convErr == nil {
				holder = fmt.Sprintf("process %d", pid)
			}
		}
		return true, fmt.Errorf("%s holds %s: %w", holder, path, ErrLocked)
	}
	fail := func(err error) (bool, error) { return true, fmt.Errorf("lock %s: %w", path, err) }
	if err != nil {
		return fail(err)
	}
	st, err := f.Stat()
	if err != nil {
		return fail(err)
	}
	now, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(st, now) {
		return false, nil // somebody else did what follows
	} else if err != nil {
		return fail(err)
	}
	if st.Mode().Perm()&others != 0 {
		// Whoever could open it may hold it open, and lock it whenever nobody else
		// has: a new file has no such past.
		if err := os.Remove(path); err != nil {
			return fail(err)
		}
		return false, nil
	}
	if err := writePID(f); err != nil {
		return fail(err)
	}
	return true, nil
}

func flock(f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err != unix.EINTR {
			return err
		}
	}
}

// writePID tells other processes who holds the lock.
func writePID(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

// WritableError adds to an error what to do about a directory that cannot be written.
func WritableError(err error) error {
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EROFS) {
		return fmt.Errorf("%w (the directory is not writable; open it read-only to list and restore)", err)
	}
	return err
}
