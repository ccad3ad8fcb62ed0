package app

import (
	"strings"
	"time"

	"github.com/urfave/cli/v2"
)

func (e *env) imageLs() *cli.Command {
	return e.command(spec{
		name:     "ls",
		usage:    "list the images",
		examples: []string{"seussctl image ls", "seussctl image ls --json"},
		action:   func(_ *cli.Context, e *env) error { return e.listImages() },
	})
}

type imageItem struct {
	Name    string    `json:"name"`
	Tags    []string  `json:"tags"`
	Digest  string    `json:"digest"`
	Bytes   int64     `json:"bytes"`
	Program string    `json:"program,omitempty"`
	Created time.Time `json:"created"`
	Error   string    `json:"error,omitempty"`
}

func (e *env) listImages() error {
	list, err := e.images().List()
	if err != nil {
		return err
	}
	items := []imageItem{}
	t := newTable("NAME", "DIGEST", ">SIZE", "CREATED", "PROGRAM")
	for _, i := range list {
		item := imageItem{i.Name, i.Tags, i.Digest, i.Bytes, i.Program, i.Created, ""}
		if item.Tags == nil {
			item.Tags = []string{}
		}
		name, program := strings.Join(i.Tags, ","), i.Program
		switch {
		case i.Err != nil:
			item.Error = i.Err.Error()
			program = "damaged: " + item.Error
		case name == "":
			name = "(was " + i.Name + ")" // a newer image has the name now
		}
		items = append(items, item)
		t.row(name, short(i.Digest), formatBytes(uint64(i.Bytes)), formatTime(i.Created), program)
	}
	if e.json {
		return e.printJSON(items)
	}
	return t.print(e.stdout)
}

// imageNames are the completions for an image.
func imageNames(e *env) (names []string) {
	list, err := e.images().List()
	if err != nil {
		return nil
	}
	for _, i := range list {
		names = append(names, i.Tags...)
	}
	return names
}
