package functioncmd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher/functions"
	"seuss/images/runtimes"
	"seuss/tools/seussctl/cmdline"
)

func functionInit(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:      "init",
		ArgsUsage: "NAME",
		Usage:     "make a working example of a function, with a test event",
		Description: `
Makes a directory of the function's name with a handler and an event for it, and prints
the commands with which it is run, deployed and invoked. What is in the directory
already stays as it is, and is refused.`,
		Examples: []string{
			"seussctl function init hello",
			"seussctl function init thumbnail --runtime node",
			"seussctl function init report --runtime python3.11 --dir ./functions/report",
		},
		Flags: []cli.Flag{
			cmdline.RuntimeFlag(),
			&cli.StringFlag{Name: "dir", Usage: "`DIR` to make (default: the function's name)"},
		},
		MinArgs: 1, MaxArgs: 1,
		Action: func(c *cli.Context, e *cmdline.Env) error {
			name := c.Args().First()
			if !functions.ValidName(name) {
				return cmdline.Usagef(c.Command.HelpName, "function name %q: want 1 to 64 of A-Z a-z 0-9 _ -", name)
			}
			ask := runtimes.Ask{Runtime: runtimes.Default()}
			if asked := c.String("runtime"); asked != "" {
				var err error
				if ask, err = cmdline.ParseRuntime(c, asked); err != nil {
					return err
				}
			}
			dir := c.String("dir")
			if dir == "" {
				dir = name
			}
			made, err := start(ask.Runtime, dir)
			if err != nil {
				return fmt.Errorf("make function %q: %w", name, err)
			}
			return printStarted(e, started{name, dir, made, nextCommands(name, dir, ask)})
		},
	})
}

// eventFile is the test event that a new function comes with.
const eventFile = "event.json"

// start writes a runtime's example into a directory that is not there, or empty.
func start(r *runtimes.Runtime, dir string) (made []string, err error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	there, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	if len(there) > 0 {
		return nil, fmt.Errorf("directory %s holds %s already: name another one with --dir", dir, there[0].Name())
	}
	for _, f := range []struct {
		name    string
		content []byte
	}{{r.Module(r.Starter.Name), r.Starter.Code}, {eventFile, []byte(r.Starter.Event + "\n")}} {
		path := filepath.Join(dir, f.name)
		if err := writeNew(path, f.content); err != nil {
			return nil, err
		}
		made = append(made, path)
	}
	return made, nil
}

// writeNew writes a file that is not there.
func writeNew(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fs.FileMode(0o666))
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Close())
}

// started is what function init has made.
type started struct {
	Function  string   `json:"function"`
	Directory string   `json:"directory"`
	Files     []string `json:"files"`
	Next      []string `json:"next"` // command lines
}

func nextCommands(name, dir string, ask runtimes.Ask) []string {
	dir = cmdline.ShellQuote(dir)
	event := "--event @" + dir + "/" + eventFile
	version := ""
	if ask.Version != "" {
		version = " --runtime " + ask.String()
	}
	return []string{
		"seussctl run " + dir + version + " " + event,
		"seussctl function deploy " + name + " " + dir + version,
		"seussctl invoke " + name + " " + event,
		"seussctl function deploy " + name + " " + dir + version + " --watch",
	}
}

func printStarted(e *cmdline.Env, s started) error {
	if e.JSON {
		return e.PrintJSON(s)
	}
	what := []string{"run it once", "deploy it", "invoke it", "deploy it again whenever a file changes"}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n", strings.Join(s.Files, "\n"))
	width := 0
	for _, line := range s.Next {
		width = max(width, len(line))
	}
	for n, line := range s.Next {
		fmt.Fprintf(&b, "%-*s  # %s\n", width, line, what[n])
	}
	_, err := fmt.Fprint(e.Stdout, b.String())
	return err
}
