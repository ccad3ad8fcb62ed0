package app

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher/instance"
	"seuss/images"
	"seuss/tools/seussctl/cmdline"
	"seuss/vmm"
)

const (
	// maxInterpreters is how many scripts run one another: Linux allows as many.
	maxInterpreters = 4
	// maxInterpreterLine bounds the first line of a script, BINPRM_BUF_SIZE of Linux.
	maxInterpreterLine = 256
)

// describeProgram says what runs in the image, and how, as docker run would.
func describeProgram(e *cmdline.Env, c *cli.Context, image *images.Image, p *instance.Program) error {
	config := image.Config()
	given := c.Args().Slice()
	if c.IsSet("entrypoint") && c.String("entrypoint") == "" {
		config.Container = nil // none at all
	}
	if p.Args = config.Container.Args(c.String("entrypoint"), given); len(p.Args) == 0 {
		return fmt.Errorf("the image says of no program that it is to be run; name one: seussctl run --image %s -- PROGRAM", c.String("image"))
	}
	env := []string{"PATH=" + cmdline.ProgramPath}
	if config.Container != nil { // what the source says of the program's environment
		env = images.MergeEnv(env, config.Env)
	}
	user, err := image.Account(cmp.Or(c.String("user"), config.User, config.Container.Account()))
	if err != nil {
		return err
	}
	p.User = vmm.User{UID: user.UID, GID: user.GID, Groups: user.Groups}
	if variable(env, "HOME") == "" && variable(p.Env, "HOME") == "" {
		env = images.MergeEnv(env, []string{"HOME=" + user.Home})
	}
	p.Env = images.MergeEnv(env, p.Env)
	p.Dir = path.Join("/", config.Container.Dir(), c.String("workdir"))
	if path.IsAbs(c.String("workdir")) {
		p.Dir = path.Clean(c.String("workdir"))
	}
	if found, err := image.Lookup(p.Dir); err != nil || !found.Inode.IsDir() {
		return fmt.Errorf("the image holds no directory %s, in which the program is to run; name another one with --workdir", p.Dir)
	}
	if p.Args, err = findProgram(image, p.Args, p.Dir, variable(p.Env, "PATH")); err != nil {
		return &cmdline.ProgramExit{Code: exitProgramNotFound, Err: err}
	}
	return nil
}

// variable returns the value that an environment gives a name.
func variable(env []string, name string) string {
	for _, e := range env {
		if value, ok := strings.CutPrefix(e, name+"="); ok {
			return value
		}
	}
	return ""
}

// findProgram returns the arguments with the path of the program in the image; in front of
// a script comes what it names on its first line.
func findProgram(image *images.Image, args []string, dir, dirs string) ([]string, error) {
	name := args[0]
	for range maxInterpreters {
		if strings.Contains(name, "/") && !path.IsAbs(name) {
			name = path.Join(dir, name)
		}
		at, content, err := openProgram(image, name, dirs)
		if err != nil {
			return nil, err
		}
		line, err := bufio.NewReaderSize(io.NewSectionReader(content, 0, maxInterpreterLine), maxInterpreterLine).ReadSlice('\n')
		if err != nil && err != io.EOF && !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
		args = append([]string{at}, args[1:]...)
		interpreter, ok := bytes.CutPrefix(line, []byte("#!"))
		if !ok {
			return args, nil
		}
		command, option, _ := strings.Cut(strings.TrimSpace(string(interpreter)), " ")
		if command == "" {
			return nil, fmt.Errorf("%s is a script that names no interpreter", at)
		}
		if option = strings.TrimSpace(option); option != "" {
			args = append([]string{option}, args...)
		}
		args, name = append([]string{command}, args...), command
	}
	return nil, fmt.Errorf("%s: more than %d scripts run one another", args[0], maxInterpreters)
}

// openProgram finds a program as a shell would.
func openProgram(image *images.Image, name, dirs string) (string, *io.SectionReader, error) {
	for _, p := range cmdline.ProgramPaths(name, dirs) {
		found, err := image.Lookup(p)
		if err != nil || !found.Inode.IsRegular() {
			continue
		}
		content, err := image.Content(found)
		return p, content, err
	}
	return "", nil, fmt.Errorf("the image holds no program %s", name)
}
