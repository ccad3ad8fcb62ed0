package sealed

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// LockName is the file of Lock in a state directory: a lock that others could open is
// replaced by whoever takes it, so that it is left as it is here.
const LockName = "lock"

// ErrShared: a directory that others may use cannot become a state directory.
var ErrShared = errors.New("other users may use this directory, and it holds more than a state")

// stateNames are the names in state directories that releases before this one left
// open to all users: what else is in such a directory was put there by somebody else.
var stateNames = []string{LockName, "lost+found", "images", "nodes", "functions", "code", "hits", "events.db", "seuss.sock", "demo", "bench"}

// Private closes a state directory, and what is in it, to all users but its own, and
// returns how many files and folders others could use.
//
// The directory itself comes first: nobody passes it from then on. A folder below it
// comes after what is in it, and one that is closed is not looked into, so that this
// takes a look at the names in the directory where everything is right, and goes on
// where it was interrupted.
func Private(dir string) (closed int, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return 0, err
	}
	defer root.Close()
	st, err := root.Stat(".")
	if err != nil {
		return 0, err
	}
	if st.Mode().Perm()&others != 0 {
		if err := checkOwn(root, st); err != nil {
			return 0, err
		}
		if err := root.Chmod(".", DirMode); err != nil {
			return 0, fmt.Errorf("close %s to other users: %w", dir, err)
		}
		closed++
	}
	n, err := closeEntries(root)
	if err != nil {
		return 0, fmt.Errorf("close %s to other users: %w", dir, err)
	}
	return closed + n, nil
}

// checkOwn refuses to close what others have a right to: a directory of /tmp's kind,
// or one like a home directory that holds other things.
func checkOwn(root *os.Root, st fs.FileInfo) error {
	if sys, ok := st.Sys().(*syscall.Stat_t); ok && int(sys.Uid) != os.Geteuid() && os.Geteuid() != 0 {
		return fmt.Errorf("it belongs to user %d, and others may use it: name one of your own: %w", sys.Uid, ErrShared)
	}
	for _, dir := range []string{"/tmp", "/var/tmp", "/dev/shm", os.TempDir()} {
		if common, err := os.Stat(dir); err == nil && os.SameFile(common, st) {
			return fmt.Errorf("it is for everybody's temporary files: name one below it: %w", ErrShared)
		}
	}
	d, err := root.Open(".")
	if err != nil {
		return err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return err
	}
	if slices.Contains(names, LockName) && slices.Contains(names, "nodes") {
		return nil // it has been one before
	}
	for _, name := range names {
		if !slices.Contains(stateNames, name) && !strings.HasPrefix(name, TempPrefix) {
			return fmt.Errorf("it holds %s: name another one, or close it yourself with chmod 700: %w", name, ErrShared)
		}
	}
	return nil
}

// entriesAtOnce bounds the memory of a walk.
const entriesAtOnce = 1024

// closeEntries closes what is in a folder. Links are left alone; so is what cannot be
// changed, as the directory above is closed.
func closeEntries(root *os.Root) (closed int, err error) {
	d, err := root.Open(".")
	if err != nil {
		return 0, err
	}
	defer d.Close()
	for {
		entries, err := d.ReadDir(entriesAtOnce)
		for _, e := range entries {
			n, err := closeEntry(root, e)
			if err != nil {
				return 0, err
			}
			closed += n
		}
		if errors.Is(err, io.EOF) {
			return closed, nil
		} else if err != nil {
			return 0, err
		}
	}
}

func closeEntry(root *os.Root, e fs.DirEntry) (closed int, err error) {
	if !e.IsDir() && !e.Type().IsRegular() || e.Name() == LockName {
		return 0, nil
	}
	st, err := e.Info()
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil // gone meanwhile
	} else if err != nil {
		return 0, err
	}
	if st.Mode().Perm()&others == 0 {
		return 0, nil
	}
	if e.IsDir() {
		folder, err := root.OpenRoot(e.Name())
		if err != nil {
			return 0, fmt.Errorf("folder %s: %w", filepath.Join(root.Name(), e.Name()), err)
		}
		closed, err = closeEntries(folder)
		if err := errors.Join(err, folder.Close()); err != nil {
			return 0, err
		}
	}
	err = root.Chmod(e.Name(), st.Mode().Perm()&^others)
	switch {
	case err == nil:
		return closed + 1, nil
	case errors.Is(err, fs.ErrPermission), errors.Is(err, fs.ErrNotExist):
		return closed, nil
	}
	return 0, err
}
