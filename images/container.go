package images

import (
	"fmt"
	"path"
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
