package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/dustin/go-humanize"
	"golang.org/x/sys/unix"

	"seuss/images"
	"seuss/images/source/debian"
	"seuss/lineage"
)

// An image of the default runtime and a handful of snapshots take less than
// neededDisk.
const neededDisk = 1 << 30

// state looks at the state directory and what it holds.
func (h *Host) state(ctx context.Context) []Check {
	checks := []Check{h.writable(), h.lock()}
	if !exists(h.StateDir) {
		return checks
	}
	return append(checks, h.images(), h.packages(ctx), h.snapshots())
}

// writable finds out whether the state directory, or the parent that it would
// be made in, can be written, without making anything.
func (h *Host) writable() Check {
	c := Check{Name: "state directory"}
	dir := h.StateDir
	for !exists(dir) && dir != filepath.Dir(dir) {
		dir = filepath.Dir(dir)
	}
	st, err := os.Stat(dir)
	if err == nil && !st.IsDir() {
		err = fmt.Errorf("%s is not a directory", dir)
	}
	if err == nil {
		err = unix.Access(dir, unix.W_OK|unix.X_OK)
	}
	if err != nil {
		c.Status, c.Detail, c.Fix = Failed, fmt.Sprintf("%s cannot be written: %v", h.StateDir, err), "choose another one with --state DIR or SEUSS_STATE"
		return c
	}
	c.Status, c.Detail = OK, h.StateDir+" is writable"
	if dir != h.StateDir {
		c.Detail = h.StateDir + " can be made"
	}
	var fsys unix.Statfs_t
	if err := unix.Statfs(dir, &fsys); err != nil {
		return c // how much is free is a remark only
	}
	free := fsys.Bavail * uint64(fsys.Bsize)
	c.Detail += ", " + humanize.IBytes(free) + " free"
	if free < neededDisk {
		c.Status, c.Fix = Warning, "an image and its snapshots take up to "+humanize.IBytes(neededDisk)
	}
	return c
}

// lock finds out who holds the state directory from the kernel's list of
// locks. Trying the lock instead would, for a moment, keep others from it.
func (h *Host) lock() Check {
	c := Check{Name: "lock", Status: OK, Detail: "nobody holds the state directory"}
	st, err := os.Stat(filepath.Join(h.StateDir, "lock"))
	if errors.Is(err, fs.ErrNotExist) {
		return c
	} else if err != nil {
		c.Status, c.Detail, c.Fix = Warning, err.Error(), "check the permissions of the state directory"
		return c
	}
	locks, err := os.ReadFile(filepath.Join(h.Proc, "locks"))
	if err != nil {
		c.Status, c.Detail, c.Fix = Warning, err.Error(), "mount /proc"
		return c
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return c
	}
	if pid, held := lockHolder(string(locks), sys.Ino); held {
		c.Status, c.Detail = Warning, "held by a process outside this container"
		if pid > 0 {
			c.Detail = fmt.Sprintf("held by process %d", pid)
			if name, err := os.ReadFile(filepath.Join(h.Proc, strconv.Itoa(pid), "comm")); err == nil {
				c.Detail += " (" + strings.TrimSpace(string(name)) + ")"
			}
		}
		c.Fix = "until it ends, only listing and invoking work on this directory"
	}
	return c
}

// lockHolder finds the flock(2) lock on an inode in the text of /proc/locks,
// whose lines are "1: FLOCK  ADVISORY  WRITE 4711 fe:01:1234 0 EOF" (proc(5)).
// The device is not compared: on stacked file systems it is not that of stat.
func lockHolder(text string, inode uint64) (pid int, held bool) {
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 6 || f[1] != "FLOCK" || f[3] != "WRITE" {
			continue
		}
		id := f[5][strings.LastIndexByte(f[5], ':')+1:]
		if n, err := strconv.ParseUint(id, 10, 64); err != nil || n != inode {
			continue
		}
		if pid, err := strconv.Atoi(f[4]); err == nil {
			return pid, true
		}
	}
	return 0, false
}

func (h *Host) images() Check {
	c := Check{Name: "images", Status: OK}
	list, err := images.Store{Dir: filepath.Join(h.StateDir, "images")}.List()
	if err != nil {
		c.Status, c.Detail, c.Fix = Warning, err.Error(), "check the permissions of the state directory"
		return c
	}
	for _, i := range list {
		if i.Err != nil {
			c.Status, c.Detail, c.Fix = Warning, i.Err.Error(), "remove it with: seussctl image rm "+i.Digest[:12]
			return c
		}
	}
	c.Detail = fmt.Sprintf("%d, all readable", len(list))
	return c
}

// packages says whether images hold other versions of packages than the host has by now.
func (h *Host) packages(ctx context.Context) Check {
	c := Check{Name: "packages of images", Status: OK, Detail: "those of this machine"}
	store := images.Store{Dir: filepath.Join(h.StateDir, "images")}
	list, err := store.List()
	if err != nil {
		return c // images says so
	}
	for _, i := range list {
		if len(i.Tags) == 0 || i.Err != nil {
			continue
		}
		img, err := images.Open(i.Path, images.SkipDigest())
		if err != nil {
			continue
		}
		named := img.Config().Packages
		moved, err := debian.Moved(ctx, h.Root, named)
		if err = errors.Join(err, img.Close()); err != nil || len(moved) == 0 {
			continue // another kind of host has none of these
		}
		c.Status = Warning
		c.Detail = fmt.Sprintf("image %s holds %d of other versions than this machine has by now: %s", i.Tags[0], len(moved), strings.Join(moved[:min(len(moved), maxMoved)], ", "))
		c.Fix = "build it again, as shown by: seussctl image show " + i.Tags[0] + " --rebuild"
		return c
	}
	return c
}

// maxMoved bounds the packages that are named.
const maxMoved = 5

func (h *Host) snapshots() Check {
	c := Check{Name: "snapshots", Status: OK}
	s, err := lineage.Open(h.StateDir, lineage.Options{ReadOnly: true})
	if err != nil {
		c.Status, c.Detail, c.Fix = Warning, err.Error(), "check the permissions of the state directory"
		return c
	}
	defer s.Close()
	c.Detail = fmt.Sprintf("%d, all readable", len(s.List()))
	if n := s.Repaired(); n > 0 {
		c.Detail += fmt.Sprintf("; other users could use %d files and folders, which are closed to them now", n)
	}
	if bad := s.Damaged(); len(bad) > 0 {
		c.Status = Warning
		c.Detail = fmt.Sprintf("%d damaged, the first is %s: %v", len(bad), bad[0].Path, bad[0].Err)
		c.Fix = "remove them with: seussctl snapshot gc --damaged; snapshots are taken again when needed"
	}
	return c
}
