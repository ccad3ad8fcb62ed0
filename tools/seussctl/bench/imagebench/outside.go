package imagebench

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// Timed is what a command took, and how many bytes it read from disks.
type Timed struct {
	Took time.Duration
	Read uint64
	Out  []byte
}

// Run runs a command to its end.
func Run(ctx context.Context, name string, args ...string) (Timed, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var out, diagnostics bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &diagnostics
	start := time.Now()
	err := cmd.Run()
	t := Timed{Took: time.Since(start), Out: out.Bytes()}
	if err != nil {
		return t, fmt.Errorf("%s %v: %w: %s", name, args, err, bytes.TrimSpace(diagnostics.Bytes()))
	}
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		t.Read = uint64(usage.Inblock) * 512
	}
	return t, nil
}

// Outside are other people's programs, by the name of the Debian package, and what has them
// make of an image what to is.
var Outside = []struct {
	Package string
	Args    func(l *Layouts, tag, to string) []string
}{
	{"umoci", func(l *Layouts, tag, to string) []string {
		return []string{"unpack", "--image", l.Dir + ":" + tag, to}
	}},
	{"skopeo", func(l *Layouts, tag, to string) []string {
		return []string{"--insecure-policy", "copy", "--quiet", l.Source(tag), "oci:" + to + ":" + tag}
	}},
}

// Disk adds up what the file system gave the files below a directory, in bytes. A file of
// several names counts once.
func Disk(dir string) (total uint64, err error) {
	seen := map[uint64]bool{}
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && d.Type().IsRegular() && !seen[st.Ino] {
			seen[st.Ino] = true
			total += uint64(st.Blocks) * 512
		}
		return nil
	})
	if os.IsNotExist(err) {
		return 0, nil
	}
	return total, err
}
