package images

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode/utf8"
)

// Container is what a container image says of its program, in the terms of the OCI image
// specification, "Image Configuration".
type Container struct {
	Entrypoint   []string `json:"entrypoint,omitempty"`
	Cmd          []string `json:"cmd,omitempty"` // the program where there is no Entrypoint, else its arguments
	WorkingDir   string   `json:"working_dir,omitempty"`
	User         string   `json:"user,omitempty"`          // USER[:GROUP], names or numbers
	ExposedPorts []string `json:"exposed_ports,omitempty"` // as 8080/tcp
	StopSignal   string   `json:"stop_signal,omitempty"`
	Layers       []Layer  `json:"layers,omitempty"` // from the base up
}

// Layer is a layer that an image was made from.
type Layer struct {
	DiffID    string `json:"diff_id"`              // digest of its tar archive, sha256:...
	Bytes     int64  `json:"bytes"`                // of its regular files
	CreatedBy string `json:"created_by,omitempty"` // what made it, as its image says
}

// Args are the arguments of the program that is run: those given in place of Cmd, if there
// are any, behind the Entrypoint or what is given in its place. nil: there is none.
func (c *Container) Args(entrypoint string, given []string) []string {
	if entrypoint != "" {
		return append([]string{entrypoint}, given...)
	}
	if c == nil {
		return given
	}
	if len(given) == 0 {
		given = c.Cmd
	}
	args := append([]string{}, c.Entrypoint...)
	if args = append(args, given...); len(args) == 0 {
		return nil
	}
	return args
}

// DefaultPath is where programs are looked for in an image that has no PATH.
const DefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Program is the command of a container image, its program by its path, and where it is
// started. What is not empty stands in place of what the image says, each by itself.
func (m *Image) Program(entrypoint, command []string, dir string) (args []string, in string, err error) {
	config := m.Config()
	if c := config.Container; c != nil {
		if len(entrypoint) == 0 {
			entrypoint = c.Entrypoint
		}
		if len(command) == 0 {
			command = c.Cmd
		}
	}
	if in = path.Clean(dir); dir == "" {
		in = config.Container.Dir()
	}
	if at, err := m.Lookup(in); err != nil || !at.Inode.IsDir() {
		return nil, "", fmt.Errorf("the image holds no directory %s, in which its program is to run", in)
	}
	args = slices.Concat(entrypoint, command)
	if len(args) == 0 {
		return nil, "", fmt.Errorf("the image says of no program that it is to be run")
	}
	places := []string{path.Join(in, args[0])}
	if path.IsAbs(args[0]) {
		places[0] = path.Clean(args[0])
	} else if !strings.Contains(args[0], "/") {
		dirs := DefaultPath
		for _, v := range config.Env {
			if value, ok := strings.CutPrefix(v, "PATH="); ok {
				dirs = value
			}
		}
		places = places[:0]
		for d := range strings.SplitSeq(dirs, ":") {
			places = append(places, path.Join("/", d, args[0]))
		}
	}
	for _, place := range places {
		if at, err := m.Lookup(place); err == nil && at.Inode.IsRegular() {
			args[0] = place
			return args, in, nil
		}
	}
	return nil, "", fmt.Errorf("the image holds no program %s", args[0])
}

// Dir is the working directory, absolute and clean.
func (c *Container) Dir() string {
	if c == nil {
		return "/"
	}
	return path.Join("/", c.WorkingDir)
}

// Account is the user that the program runs as; "" is root.
func (c *Container) Account() string {
	if c == nil {
		return ""
	}
	return c.User
}

// validate holds the texts to what JSON can carry.
func (c *Container) validate() error {
	if c == nil {
		return nil
	}
	lists := [][]string{c.Entrypoint, c.Cmd, {c.WorkingDir, c.User, c.StopSignal}, c.ExposedPorts}
	for _, l := range c.Layers {
		lists = append(lists, []string{l.DiffID, l.CreatedBy})
	}
	for _, list := range lists {
		for _, s := range list {
			if !utf8.ValidString(s) {
				return fmt.Errorf("%q is not valid UTF-8", s)
			}
		}
	}
	return nil
}
