package app

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher/instance"
	"seuss/images"
	"seuss/tools/seussctl/cmdline"
)

const (
	// maxInterpreters is how many scripts run one another: Linux allows as many.
	maxInterpreters = 4
	// maxInterpreterLine bounds the first line of a script, BINPRM_BUF_SIZE of Linux.
	maxInterpreterLine = 256
	// maxAccounts bounds /etc/passwd and /etc/group.
	maxAccounts = 4 << 20
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
	user, err := findUser(image, cmp.Or(c.String("user"), config.Container.Account()))
	if err != nil {
		return err
	}
	if variable(env, "HOME") == "" && variable(p.Env, "HOME") == "" {
		env = images.MergeEnv(env, []string{"HOME=" + user.home})
	}
	p.Env = images.MergeEnv(env, p.Env)
	switch other := user.uid != 0 || user.gid != 0; {
	case other && c.IsSet("user"):
		return fmt.Errorf("--user %s: guests have one user, root, who reaches nothing outside his guest: leave --user out, or say --user root", c.String("user"))
	case other:
		e.Notef("the image asks for user %d, group %d; guests have one user, root (--user root says so)", user.uid, user.gid)
	}
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

// account is a user of an image.
type account struct {
	uid, gid uint32
	home     string
}

// findUser finds USER[:GROUP] in the image's own files, as docker run does; "" is root.
func findUser(image *images.Image, text string) (account, error) {
	name, group, _ := strings.Cut(text, ":")
	a := account{home: "/root"}
	if name != "" && name != "root" && name != "0" {
		a.home = "/"
		number, err := strconv.ParseUint(name, 10, 31)
		row, known, findErr := findRow(image, "/etc/passwd", func(f []string) bool { return len(f) >= 6 && (f[0] == name || err == nil && f[2] == name) })
		switch {
		case findErr != nil:
			return a, findErr
		case known:
			uid, uidErr := strconv.ParseUint(row[2], 10, 31)
			gid, gidErr := strconv.ParseUint(row[3], 10, 31)
			if err := errors.Join(uidErr, gidErr); err != nil {
				return a, fmt.Errorf("user %q in the image's /etc/passwd: %w", name, err)
			}
			a = account{uint32(uid), uint32(gid), cmp.Or(row[5], "/")}
		case err != nil:
			return a, fmt.Errorf("the image's /etc/passwd has no user %q; name another one, or a number, with --user", name)
		default:
			a.uid = uint32(number)
		}
	}
	if group == "" {
		return a, nil
	}
	gid, err := strconv.ParseUint(group, 10, 31)
	if err != nil {
		row, known, findErr := findRow(image, "/etc/group", func(f []string) bool { return len(f) >= 3 && f[0] == group })
		if findErr != nil {
			return a, findErr
		}
		if !known {
			return a, fmt.Errorf("the image's /etc/group has no group %q; name another one, or a number, with --user", group)
		}
		if gid, err = strconv.ParseUint(row[2], 10, 31); err != nil {
			return a, fmt.Errorf("group %q in the image's /etc/group: %w", group, err)
		}
	}
	a.gid = uint32(gid)
	return a, nil
}

// findRow finds a row of a table such as passwd(5). No table is an empty one.
func findRow(image *images.Image, file string, is func(fields []string) bool) (fields []string, found bool, err error) {
	e, err := image.Lookup(file)
	if err != nil || !e.Inode.IsRegular() {
		return nil, false, nil
	}
	r, err := image.Content(e)
	if err != nil {
		return nil, false, err
	}
	text, err := io.ReadAll(io.LimitReader(r, maxAccounts))
	if err != nil {
		return nil, false, fmt.Errorf("read the image's %s: %w", file, err)
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Split(strings.TrimRight(line, "\n"), ":"); is(fields) {
			return fields, true, nil
		}
	}
	return nil, false, nil
}
