package instancecmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher/http/native/client"
	"seuss/tools/seussctl/cmdline"
)

func cp(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name: "cp", ArgsUsage: "NAME:PATH DEST | SRC NAME:PATH", MinArgs: 2, MaxArgs: 2,
		Usage: "copy files out of an instance, or into it",
		Description: `
PATH is absolute. A directory is copied with all that is below it: into the destination, if
that is a directory, or else as it. As DEST or SRC a - is a tar archive on standard output
or input; a local name with a colon in it is written ./NAME. The instance may be parked: it
is brought to a machine for a moment at a time. Symbolic links stay links; devices and
sockets are refused.`,
		Examples: []string{
			"seussctl instance cp lab:/tmp/result.csv .",
			"seussctl instance cp ./data lab:/tmp",
			"seussctl instance cp lab:/var/task - | tar t",
		},
		Action: func(c *cli.Context, e *cmdline.Env) error {
			from, to := c.Args().Get(0), c.Args().Get(1)
			fromName, fromPath, out := remote(from)
			toName, toPath, in := remote(to)
			if in == out {
				return cmdline.Usagef(c.Command.HelpName, "want one of them as NAME:PATH, of an instance, and the other a local file or -")
			}
			return with(c, e, func(ctx context.Context, l client.Live) error {
				if out {
					return copyOut(ctx, e, l, fromName, fromPath, to)
				}
				return copyIn(ctx, e, l, from, toName, toPath)
			})
		},
	})
}

// remote takes NAME:PATH apart. What has a slash before its colon is a local name.
func remote(arg string) (name, path string, ok bool) {
	name, path, ok = strings.Cut(arg, ":")
	if ok = ok && name != "" && !strings.HasPrefix(name, ".") && !strings.HasPrefix(name, "/"); !ok {
		return "", "", false
	}
	return name, path, true
}

func copyOut(ctx context.Context, e *cmdline.Env, l client.Live, name, path, to string) (err error) {
	r, err := l.Files(ctx, name, path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if to == "-" {
		_, err = io.Copy(e.Stdout, r)
	} else {
		err = extract(r, to)
	}
	if err != nil {
		return fmt.Errorf("copy %s:%s: %w", name, path, err)
	}
	return nil
}

func copyIn(ctx context.Context, e *cmdline.Env, l client.Live, from, name, path string) error {
	if from == "-" {
		return l.PutFiles(ctx, name, path, e.Stdin)
	}
	if _, err := os.Lstat(from); err != nil {
		return err
	}
	whole, err := filepath.Abs(from) // of . the name
	if err != nil {
		return err
	}
	r, w := io.Pipe()
	packed := make(chan error, 1)
	go func() {
		err := pack(w, whole)
		w.CloseWithError(err)
		packed <- err
	}()
	err = l.PutFiles(ctx, name, path, r)
	r.Close() // whatever is left of it nobody reads
	if local := <-packed; local != nil && !errors.Is(local, io.ErrClosedPipe) {
		return local
	}
	return err
}
