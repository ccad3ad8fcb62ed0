package imagecmd

import (
	"context"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"seuss/tools/seussctl/cmdline"
)

func imageLs(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:     "ls",
		Usage:    "list the images",
		Examples: []string{"seussctl image ls", "seussctl image ls --json"},
		Action:   func(c *cli.Context, e *cmdline.Env) error { return listImages(c.Context, e) },
	})
}

func listImages(ctx context.Context, e *cmdline.Env) error {
	list, err := cmdline.ListImages(ctx, e)
	if err != nil {
		return err
	}
	if e.JSON {
		return e.PrintJSON(list)
	}
	t := cmdline.NewTable("NAME", "DIGEST", ">SIZE", ">OWN", ">LAYERS", "CREATED", "PROGRAM")
	for _, i := range list {
		name, program := strings.Join(i.Tags, ","), i.Program
		switch {
		case i.Error != "":
			program = "damaged: " + i.Error
		case name == "":
			name = "(was " + i.Name + ")" // a newer image has the name now
		}
		t.Row(name, cmdline.Short(i.Digest), cmdline.FormatBytes(uint64(i.Bytes)), cmdline.FormatBytes(uint64(i.OwnBytes)), strconv.Itoa(i.Layers), cmdline.FormatTime(i.Created), program)
	}
	return t.Print(e.Stdout)
}
