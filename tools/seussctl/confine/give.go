package confine

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// GiveTo makes what root owns in a state directory a user's. One that belongs to a
// third user is not taken from him.
func GiveTo(dir string, uid, gid int) error { return give(dir, uid, gid, time.Time{}) }

// GiveBack gives what root has written into another user's state directory since a
// time, which must be one of this process, to that user. Where the directory is root's,
// or the process is not, nothing happens.
//
// Who makes, renames or links a file changes the folder, so that of one that has not
// changed since then only the names are read.
func GiveBack(dir string, since time.Time) error {
	var st unix.Stat_t
	if os.Geteuid() != 0 || unix.Stat(dir, &st) != nil || st.Uid == 0 {
		return nil
	}
	return give(dir, int(st.Uid), int(st.Gid), changedSince(since, time.Since(since), time.Now().Round(0).Sub(since.Round(0))))
}

// clockSlack is more than file systems' times lag behind the clock.
const clockSlack = time.Second

// changedSince is a file's time that is before what happened since start. That is
// nothing to go by where the clock has been set meanwhile, and went on by another time
// than has passed.
func changedSince(start time.Time, passed, clock time.Duration) time.Time {
	if (passed - clock).Abs() > clockSlack/2 {
		return time.Time{}
	}
	return start.Add(-clockSlack)
}

// giver gives files away. The user whom they are given may change names all the time, so
// that no path is followed: a file is given as what it was looked at.
type giver struct {
	uid, gid int
	since    time.Time
	linked   map[inode]*linkedFile
}

type inode struct{ dev, number uint64 }

// linkedFile is root's, and has several names.
type linkedFile struct {
	path string // one of them
	seen uint64 // how many are in the directory
}

func give(dir string, uid, gid int, since time.Time) error {
	fail := func(err error) error { return fmt.Errorf("state directory %s: %w", dir, err) }
	f, err := os.Open(dir)
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return fail(err)
	}
	if st.Uid != 0 && int(st.Uid) != uid {
		return fmt.Errorf("state directory %s belongs to user %d: serve it as that user (--user %s)", dir, st.Uid, nameOf(st.Uid))
	}
	g := &giver{uid, gid, since, map[inode]*linkedFile{}}
	if err := g.folder(f, "."); err != nil {
		return fail(err)
	}
	if err := g.links(dir); err != nil {
		return fail(err)
	}
	return nil
}

// wanted says whether a file is to be given.
func (g *giver) wanted(st *unix.Stat_t) bool {
	return st.Uid == 0 || int(st.Uid) == g.uid && int(st.Gid) != g.gid
}

// take gives an open file, which may be one of O_PATH.
func (g *giver) take(f *os.File, path string) error {
	if err := unix.Fchownat(int(f.Fd()), "", g.uid, g.gid, unix.AT_EMPTY_PATH); err != nil {
		return fmt.Errorf("give %s to user %d: %w", path, g.uid, err)
	}
	return nil
}

// namesAtOnce bounds the memory of a walk.
const namesAtOnce = 1024

// folder gives a folder, and what is in it.
func (g *giver) folder(f *os.File, path string) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	changed := !time.Unix(st.Ctim.Unix()).Before(g.since)
	if g.wanted(&st) {
		if err := g.take(f, path); err != nil {
			return err
		}
	}
	for {
		entries, err := f.ReadDir(namesAtOnce)
		for _, e := range entries {
			if !changed && !e.IsDir() {
				continue
			}
			if err := g.entry(f, e, filepath.Join(path, e.Name())); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// entry gives what has a name in a folder.
func (g *giver) entry(folder *os.File, e fs.DirEntry, path string) error {
	var st unix.Stat_t
	flags := unix.O_NOFOLLOW | unix.O_CLOEXEC
	if e.IsDir() {
		flags |= unix.O_RDONLY | unix.O_DIRECTORY
	} else {
		err := unix.Fstatat(int(folder.Fd()), e.Name(), &st, unix.AT_SYMLINK_NOFOLLOW)
		if errors.Is(err, fs.ErrNotExist) || err == nil && !g.wanted(&st) {
			return nil
		}
		flags |= unix.O_PATH
	}
	fd, err := unix.Openat(int(folder.Fd()), e.Name(), flags, 0)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil // another process has just removed or replaced it
	}
	if err != nil {
		return fmt.Errorf("look at %s: %w", path, err)
	}
	f := os.NewFile(uintptr(fd), path)
	if e.IsDir() {
		return errors.Join(g.folder(f, path), f.Close())
	}
	if err = unix.Fstat(fd, &st); err == nil && st.Uid == 0 && st.Nlink > 1 {
		g.link(path, &st)
	} else if err == nil && g.wanted(&st) {
		err = g.take(f, path)
	}
	return errors.Join(err, f.Close())
}

// link counts a name of a file that has several.
func (g *giver) link(path string, st *unix.Stat_t) {
	id := inode{st.Dev, st.Ino}
	l := g.linked[id]
	if l == nil {
		l = &linkedFile{path: path}
		g.linked[id] = l
	}
	l.seen++
}

// links gives files all of whose names are in the directory: nodes have links to their
// donors. Another name is another place's, and the file stays root's.
func (g *giver) links(dir string) error {
	if len(g.linked) == 0 {
		return nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	for id, l := range g.linked {
		err = errors.Join(err, g.linkedFile(root, id, l))
	}
	return errors.Join(err, root.Close())
}

func (g *giver) linkedFile(root *os.Root, id inode, l *linkedFile) error {
	f, err := root.OpenFile(l.path, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var st unix.Stat_t
	err = unix.Fstat(int(f.Fd()), &st)
	switch {
	case err != nil:
	case id != inode{st.Dev, st.Ino} || st.Nlink > l.seen:
		err = fmt.Errorf("%s is a file of root's that has another name outside of it: put a copy in its place, or remove it", l.path)
	default:
		err = g.take(f, l.path)
	}
	return errors.Join(err, f.Close())
}
