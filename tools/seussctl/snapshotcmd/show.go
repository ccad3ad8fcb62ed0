package snapshotcmd

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher/api"
	"seuss/lineage"
	"seuss/tools/seussctl/cmdline"
)

func snapshotShow(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:      "show",
		ArgsUsage: "ID",
		Usage:     "print everything about one snapshot",
		Examples:  []string{"seussctl snapshot show 4f1c0a"},
		MinArgs:   1, MaxArgs: 1,
		Complete: cmdline.SnapshotIDs,
		Action: func(c *cli.Context, e *cmdline.Env) error {
			return e.Reading(func(r cmdline.Reader) error { return showNode(c.Context, e, r, c.Args().First()) })
		},
	})
}

func showNode(ctx context.Context, e *cmdline.Env, r cmdline.Reader, id string) error {
	doc, err := r.Inspect(ctx, id)
	if err != nil {
		return err
	}
	if doc.LoadingError != "" {
		e.Notef("%s; the next run records another one", doc.LoadingError)
	}
	if e.JSON {
		ids := []string{}
		for _, p := range doc.Lineage {
			ids = append(ids, p.ID)
		}
		return e.PrintJSON(struct {
			*api.Snapshot
			LoadingPages uint64          `json:"loading_pages,omitempty"` // of its loading set
			LoadingRuns  uint64          `json:"loading_runs,omitempty"`
			Donors       []lineage.Donor `json:"donors,omitempty"`
			Lineage      []string        `json:"lineage"` // ids from the root down to this node
		}{doc.Snapshot, doc.LoadingPages, doc.LoadingRuns, doc.Donors, ids})
	}
	tags := cmdline.ImageTags(ctx, e)
	var steps []string
	for _, p := range doc.Lineage {
		step := string(p.Kind)
		if key := cmdline.NodeKey(p, tags); key != "" {
			step += " " + key
		}
		steps = append(steps, step)
	}
	return printNode(e.Stdout, doc, strings.Join(steps, " > "))
}

func printNode(w io.Writer, doc *api.Inspected, path string) error {
	n := doc.Snapshot
	t := cmdline.NewTable("FIELD", "VALUE")
	add := func(name, format string, args ...any) { t.Row(name, fmt.Sprintf(format, args...)) }
	add("id", "%s", n.ID)
	add("kind", "%s", n.Kind)
	add("lineage", "%s", path)
	add("parent", "%s", dash(n.Parent))
	add("children", "%d", doc.Children)
	add("image", "%s", n.ImageDigest)
	if n.Key.Function != "" {
		add("function", "%s, handler %s, code %s", n.Key.Function, n.Key.Handler, cmdline.Short(n.Key.CodeDigest))
	}
	if len(n.Key.Imports) > 0 {
		add("imports", "%s", strings.Join(n.Key.Imports, ", "))
	}
	for _, a := range n.Key.Args {
		add("argument", "%s = %s (SHA-256 %s)", a.Key, a.Preview, cmdline.Short(a.Digest))
	}
	if n.Key.NextKey != "" {
		add("waits for", "%s", n.Key.NextKey)
	}
	if doc.LoadingPages > 0 {
		add("loading set", "%s pages in %s runs (%s), read first at a start from disk", cmdline.FormatPages(doc.LoadingPages), cmdline.FormatPages(doc.LoadingRuns), cmdline.FormatBytes(cmdline.PageBytes(doc.LoadingPages)))
	} else {
		add("loading set", "- (none was recorded)")
	}
	add("created", "%s", cmdline.FormatTime(n.Created))
	add("guest pages", "%s (%s)", cmdline.FormatPages(n.GuestPages), cmdline.FormatBytes(cmdline.PageBytes(n.GuestPages)))
	add("delta pages", "%s", cmdline.FormatPages(n.DeltaPages))
	add("stored", "%s", cmdline.FormatBytes(n.Stored()))
	for _, d := range doc.Donors {
		add("stored once", "%s pages (%s) lie in the file of %s", cmdline.FormatPages(d.Pages), cmdline.FormatBytes(cmdline.PageBytes(d.Pages)), cmdline.Short(d.ID))
	}
	add("as pages", "%s", cmdline.FormatBytes(n.DeltaBytes+n.ImageBytes))
	add("tags", "%s", dash(strings.Join(n.Tags, ", ")))
	add("pinned", "%v", n.Pinned)
	add("shared", "%s in %s pages of its ancestors", cmdline.FormatBytes(n.SharedBytes), cmdline.FormatPages(n.SharedPages))
	add("hits", "%d", n.Hits)
	add("capture took", "%s", cmdline.FormatDuration(n.CaptureCost))
	add("saves", "%s an invocation", cmdline.FormatDuration(n.SavedTime))
	if n.Pure {
		add("purity", "pure: nothing but the bound arguments went into it")
	} else {
		add("purity", "impure: entropy %d, clock %d, socket %d, context %v; %s", n.Purity.Entropy, n.Purity.Clock, n.Purity.Socket, n.Purity.Context, dash(strings.Join(n.Purity.Reasons, "; ")))
	}
	add("guest ABI", "%d", n.ABIVersion)
	add("CPU features", "%d", len(n.CPUFeatures.Named))
	return t.Print(w)
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
