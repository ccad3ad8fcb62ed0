package statecmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher/http/native/client"
	"seuss/dispatcher/state"
	"seuss/tools/seussctl/cmdline"
)

func ls(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name: "ls", ArgsUsage: "[SHARE[/BEGINNING]]", MaxArgs: 1,
		Usage: "list values",
		Description: `
Lists the values whose keys begin so, in the order of keys; a SHARE without a slash is all
of that share. A value is in the daemon's memory; --pushed lists what was pushed and
survives it.

-q prints keys for people to read: what cannot be printed is a dot, and a key may have
spaces. For programs -0 prints them byte by byte, each with a NUL behind it.`,
		Examples: []string{"seussctl state ls", "seussctl state ls orders/2026-", "seussctl state ls -0 orders | xargs -0 -r -n 10000 seussctl state rm --"},
		Flags: []cli.Flag{
			&cli.BoolFlag{DisableDefaultText: true, Name: "quiet", Aliases: []string{"q"}, Usage: "print keys only"},
			&cli.BoolFlag{DisableDefaultText: true, Name: "null", Aliases: []string{"0"}, Usage: "print keys only, as they are, with NUL behind each"},
			&cli.BoolFlag{DisableDefaultText: true, Name: "pushed", Usage: "list what was pushed"},
		},
		Action: func(c *cli.Context, e *cmdline.Env) error {
			prefix := c.Args().First()
			if prefix != "" && !strings.Contains(prefix, "/") {
				prefix += "/"
			}
			return with(c, e, func(ctx context.Context, s client.State) error {
				list, err := all(ctx, s, prefix, c.Bool("pushed"))
				switch {
				case err != nil:
					return err
				case e.JSON:
					return e.PrintJSON(list)
				case c.Bool("null"):
					for _, i := range list {
						if _, err := fmt.Fprintf(e.Stdout, "%s\x00", i.Key); err != nil {
							return err
						}
					}
					return nil
				case c.Bool("quiet"):
					for _, i := range list {
						if _, err := fmt.Fprintln(e.Stdout, cmdline.Printable(i.Key)); err != nil {
							return err
						}
					}
					return nil
				}
				t := cmdline.NewTable("KEY", ">SIZE", ">VERSION")
				for _, i := range list {
					version := "-"
					if i.Version != 0 {
						version = fmt.Sprint(i.Version)
					}
					t.Row(cmdline.Printable(i.Key), cmdline.FormatBytes(uint64(i.Size)), version)
				}
				return t.Print(e.Stdout)
			})
		},
	})
}

// all reads a list page by page.
func all(ctx context.Context, s client.State, prefix string, pushed bool) ([]state.Item, error) {
	list := []state.Item{}
	for after := ""; ; {
		page, err := s.List(ctx, prefix, after, pushed)
		list = append(list, page.Items...)
		if after = page.Next; err != nil || after == "" {
			return list, err
		}
	}
}

// value is the document of one.
type value struct {
	Key string `json:"key"`
	state.Meta
	Value []byte `json:"value,omitempty"` // in base64
	File  string `json:"file,omitempty"`  // where it was written
}

func get(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name: "get", ArgsUsage: "KEY", MinArgs: 1, MaxArgs: 1,
		Usage: "print a value, byte by byte as it is",
		Description: `
With --json the value is in base64. A FILE has the whole value or is left as it was.`,
		Examples: []string{"seussctl state get orders/today", "seussctl state get models/weights -o weights.npy"},
		Flags:    []cli.Flag{&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write it to `FILE`"}},
		Action: func(c *cli.Context, e *cmdline.Env) error {
			key, file := c.Args().First(), c.String("output")
			return with(c, e, func(ctx context.Context, s client.State) (err error) {
				doc := value{Key: key, File: file}
				switch {
				case file != "":
					doc.Meta, err = toFile(ctx, s, key, file)
				case e.JSON:
					var b bytes.Buffer
					doc.Meta, err = s.Get(ctx, key, &b)
					doc.Value = b.Bytes()
				default:
					_, err = s.Get(ctx, key, e.Stdout)
					return err
				}
				if err != nil {
					return err
				}
				if e.JSON {
					return e.PrintJSON(doc)
				}
				_, err = fmt.Fprintf(e.Stdout, "wrote %s: %s, version %d\n", file, cmdline.FormatBytes(uint64(doc.Size)), doc.Version)
				return err
			})
		},
	})
}

// toFile writes a value to a file beside, which then takes the name.
func toFile(ctx context.Context, s client.State, key, path string) (m state.Meta, err error) {
	if st, err := os.Stat(path); err == nil && !st.Mode().IsRegular() { // a pipe, or a device
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return m, err
		}
		m, err = s.Get(ctx, key, f)
		return m, errors.Join(err, f.Close())
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return m, err
	}
	m, err = s.Get(ctx, key, f)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return m, errors.Join(err, os.Remove(f.Name()))
	}
	return m, nil
}

func watch(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name: "watch", ArgsUsage: "KEY", MinArgs: 1, MaxArgs: 1,
		Usage: "tell of each change of a value",
		Description: `
Prints a line for the value as it is, unless --once is given, and one for each change until
Ctrl-C. Of changes one close behind the other only the last may be told. A value that is
removed, or not there yet, has no version.`,
		Examples: []string{"seussctl state watch orders/today", "seussctl state watch --once orders/today && seussctl state get orders/today"},
		Flags:    []cli.Flag{&cli.BoolFlag{DisableDefaultText: true, Name: "once", Usage: "end behind the first change"}},
		Action: func(c *cli.Context, e *cmdline.Env) error {
			key, once := c.Args().First(), c.Bool("once")
			return with(c, e, func(ctx context.Context, s client.State) error {
				m, err := s.Stat(ctx, key)
				if errors.Is(err, state.ErrNotFound) {
					m, err = state.Meta{}, nil
				}
				if err == nil && !once {
					err = printChange(e, key, m)
				}
				for err == nil {
					if m, err = s.Watch(ctx, key, m.Version); err == nil {
						err = printChange(e, key, m)
					}
					if once {
						return err
					}
				}
				if ctx.Err() != nil {
					return nil // that is how it ends
				}
				return err
			})
		},
	})
}

func printChange(e *cmdline.Env, key string, m state.Meta) error {
	if e.JSON {
		return e.PrintJSON(value{Key: key, Meta: m})
	}
	what := "is not there"
	if m.Version != 0 {
		what = fmt.Sprintf("version %d, %s", m.Version, cmdline.FormatBytes(uint64(m.Size)))
	}
	_, err := fmt.Fprintf(e.Stdout, "%s %s %s\n", cmdline.FormatTime(time.Now()), cmdline.Printable(key), what)
	return err
}

func stats(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:     "stats",
		Usage:    "show what values take, and what was done with them since the daemon's start",
		Examples: []string{"seussctl state stats", "seussctl state stats --json"},
		Action: func(c *cli.Context, e *cmdline.Env) error {
			return with(c, e, func(ctx context.Context, s client.State) error {
				st, err := s.Stats(ctx)
				switch {
				case err != nil:
					return err
				case e.JSON:
					return e.PrintJSON(st)
				}
				return printStats(e.Stdout, &st)
			})
		},
	})
}

func printStats(w io.Writer, st *state.Stats) error {
	t := cmdline.NewTable()
	t.Row("values", fmt.Sprint(st.Keys))
	t.Row("memory", fmt.Sprintf("%s of %s", cmdline.FormatBytes(uint64(st.Bytes)), cmdline.FormatBytes(uint64(st.Limit))))
	t.Row("memory of all owners", fmt.Sprintf("%s of %s", cmdline.FormatBytes(uint64(st.All)), cmdline.FormatBytes(uint64(st.Most))))
	t.Row("sessions", fmt.Sprint(st.Sessions))
	t.Row("waiting", fmt.Sprint(st.Waiting))
	t.Row("locks held", fmt.Sprint(st.Held))
	t.Row("locks granted", fmt.Sprint(st.Locks))
	t.Row("leases expired", fmt.Sprint(st.Expired))
	t.Row("deadlocks refused", fmt.Sprint(st.Deadlocks))
	t.Row("reads", fmt.Sprint(st.Reads))
	t.Row("writes", fmt.Sprint(st.Writes))
	t.Row("pushes", fmt.Sprintf("%d, %s that was not there", st.Pushes, cmdline.FormatBytes(st.Pushed)))
	t.Row("pulls", fmt.Sprintf("%d, %s that was not here", st.Pulls, cmdline.FormatBytes(st.Pulled)))
	return t.Print(w)
}
