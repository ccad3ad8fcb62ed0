package app

import (
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"seuss/tools/seussctl/cmdline"
)

func imageLs(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:     "ls",
		Usage:    "list the images",
		Examples: []string{"seussctl image ls", "seussctl image ls --json"},
		Action:   func(_ *cli.Context, e *cmdline.Env) error { return listImages(e) },
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

func listImages(e *cmdline.Env) error {
	list, err := e.Images().List()
	if err != nil {
		return err
	}
	items := []imageItem{}
	t := cmdline.NewTable("NAME", "DIGEST", ">SIZE", "CREATED", "PROGRAM")
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
		t.Row(name, cmdline.Short(i.Digest), cmdline.FormatBytes(uint64(i.Bytes)), cmdline.FormatTime(i.Created), program)
	}
	if e.JSON {
		return e.PrintJSON(items)
	}
	return t.Print(e.Stdout)
}

// imageNames are the completions for an image.
func imageNames(e *cmdline.Env) (names []string) {
	list, err := e.Images().List()
	if err != nil {
		return nil
	}
	for _, i := range list {
		names = append(names, i.Tags...)
	}
	return names
}
