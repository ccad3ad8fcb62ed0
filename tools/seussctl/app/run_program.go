package app

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher"
	"seuss/dispatcher/instance"
	"seuss/guest"
	"seuss/images"
	"seuss/images/source"
	"seuss/tools/seussctl/cmdline"
)

// Exit codes of a run program that has none of its own, as env(1), timeout(1)
// and shells give them.
const (
	exitProgramTimeout  = 124
	exitProgramFailure  = 125 // seussctl's own, or the machine's
	exitProgramNotFound = 127
	exitProgramSignal   = 128 // and the signal's number
)

const (
	maxProgramArgs = guest.ArgsSize
)

func programFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "env", Usage: "environment `KEY=VALUE` of a program, may be repeated"},
		&cli.StringFlag{Name: "memory", Usage: "guest memory of a program, a `SIZE` such as 2GiB (default: the image's; 1GiB for dir:PATH and other sources)"},
		&cli.StringFlag{Name: "entrypoint", Usage: "`PROGRAM` in place of the image's entrypoint"},
		&cli.StringFlag{Name: "workdir", Aliases: []string{"w"}, Usage: "working `DIR` of a program (default: the image's, else /)"},
		&cli.StringFlag{Name: "user", Aliases: []string{"u"}, Usage: "`USER[:GROUP]` of a program, names of the image or numbers (default: the image's, else root)"},
	}
}

// isProgram tells a program of an image from a function's file.
func isProgram(e *cmdline.Env, c *cli.Context) bool {
	return source.IsReference(c.String("image")) || c.IsSet("image") && e.Dashed
}

// runProgram runs a program; whatever fails before it, but wrong usage, is 125.
func runProgram(e *cmdline.Env, c *cli.Context) error {
	for _, name := range []string{"handler", "import", "lazy-args", "event", "timings"} {
		if c.IsSet(name) {
			return cmdline.Usagef(c.Command.HelpName, "--%s is for functions, not for a program", name)
		}
	}
	if err := cmdline.CheckTimeout(c); err != nil {
		return err
	}
	p := instance.Program{}
	for _, v := range c.StringSlice("env") {
		if name, _, ok := strings.Cut(v, "="); !ok || name == "" {
			return cmdline.Usagef(c.Command.HelpName, "--env %q: want KEY=VALUE", v)
		}
		p.Env = append(p.Env, v)
	}
	if c.IsSet("memory") {
		memory, err := cmdline.ParseMemory(c.String("memory"))
		if err != nil {
			return cmdline.Usagef(c.Command.HelpName, "--memory: %w", err)
		}
		p.MemoryBytes = memory
	}
	if c.IsSet("timeout") {
		p.Timeout = c.Duration("timeout")
	}
	network, err := cmdline.ReadNetwork(c)
	if err != nil {
		return err
	}
	p.Network = network
	err = runInImage(e, c, p)
	var exit *cmdline.ProgramExit
	switch {
	case err == nil || errors.As(err, &exit):
		return err
	case errors.Is(err, dispatcher.ErrTimeout):
		return &cmdline.ProgramExit{Code: exitProgramTimeout, Err: err}
	}
	return &cmdline.ProgramExit{Code: exitProgramFailure, Err: err}
}

// openProgramImage opens the image that is named, or that a source leads to.
func openProgramImage(e *cmdline.Env, c *cli.Context) (*images.Image, error) {
	ref, err := e.EnsureImage(c, c.String("image"))
	if err != nil {
		return nil, err
	}
	file, err := e.Images().Find(ref)
	if err != nil {
		return nil, err
	}
	if source.IsReference(c.String("image")) {
		return images.Open(file, images.SkipDigest()) // it was built by this user's hand
	}
	return images.Open(file)
}

func runInImage(e *cmdline.Env, c *cli.Context, p instance.Program) (err error) {
	image, err := openProgramImage(e, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, image.Close()) }()
	p.Image = image
	if err := describeProgram(e, c, image, &p); err != nil {
		return err
	}
	ctx := c.Context
	platform, err := e.OpenPlatform()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, platform.Close()) }()
	var out programOutput
	p.Output = func(fd uint16, text []byte) { out.write(e, fd, text) }
	e.Progress.Clear()
	r, err := instance.RunProgram(ctx, platform, p)
	if err = errors.Join(err, out.err); err != nil {
		return err
	}
	code := r.Status
	if r.Signal != 0 {
		code = exitProgramSignal + r.Signal
	}
	if !e.JSON {
		e.NoteRefused(r.NetworkRefused)
	}
	if e.JSON {
		err := e.PrintJSON(struct {
			ExitCode    int               `json:"exit_code"`
			Signal      int               `json:"signal,omitempty"`
			Stdout      string            `json:"stdout"`
			Stderr      string            `json:"stderr"`
			Crash       string            `json:"crash,omitempty"`
			Unsupported map[string]uint32 `json:"unsupported_calls,omitempty"`
			Refused     map[string]uint32 `json:"network_refused,omitempty"`
		}{code, r.Signal, out.stdout.String(), out.stderr.String(), r.Report, r.Unsupported, r.NetworkRefused})
		return errors.Join(err, exitCode(code))
	}
	if r.Report != "" {
		fmt.Fprintf(e.Stderr, "seussctl: %s\n", strings.TrimRight(r.Report, "\n"))
	}
	if calls := cmdline.FormatCalls(r.Unsupported); calls != "" && r.Report != "" {
		e.Notef("system calls refused with ENOSYS: %s", calls)
	}
	return exitCode(code)
}

func exitCode(code int) error {
	if code == 0 {
		return nil
	}
	return &cmdline.ProgramExit{Code: code}
}

// programOutput passes on what a program writes, or keeps it for a JSON document.
type programOutput struct {
	stdout, stderr strings.Builder
	err            error
}

func (o *programOutput) write(e *cmdline.Env, fd uint16, text []byte) {
	var w io.Writer
	switch {
	case fd == 1 && e.JSON:
		w = &o.stdout
	case e.JSON:
		w = &o.stderr
	case fd == 1:
		w = e.Stdout
	default:
		w = e.Stderr
	}
	if _, err := w.Write(text); err != nil && o.err == nil {
		o.err = fmt.Errorf("pass on the program's output: %w", err)
	}
}
