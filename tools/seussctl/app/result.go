package app

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"seuss/dispatcher"
)

// shown says what to print of a result besides output and logs.
type shown struct{ timings, explain bool }

// printResult prints an invocation's result. The function's own failure is
// returned as the error that report prints, except with --json, where the
// document already holds it.
func (e *env) printResult(r *dispatcher.Result, s shown) error {
	e.progress.clear()
	if e.json {
		if err := e.printJSON(r); err != nil {
			return err
		}
		if r.Error != nil {
			return errFunctionReported
		}
		return nil
	}
	if err := printLogs(e.stderr, r); err != nil {
		return err
	}
	if s.explain {
		if err := printCandidates(e.stderr, r.Candidates); err != nil {
			return err
		}
	}
	if s.timings {
		if err := printTimings(e.stderr, r); err != nil {
			return err
		}
	}
	if r.Crash != "" {
		fmt.Fprintf(e.stderr, "%s\n", strings.TrimRight(r.Crash, "\n"))
	}
	e.noteRefused(r.NetworkRefused)
	if r.Error != nil {
		return r.Error
	}
	_, err := fmt.Fprintf(e.stdout, "%s\n", r.Output)
	return err
}

// printLogs copies what the function wrote. Lines keep their own ends; only the
// last one is completed.
func printLogs(w io.Writer, r *dispatcher.Result) error {
	var b strings.Builder
	for _, l := range r.Logs {
		if l.Stream == "kernel" {
			b.WriteString("[guest kernel] ")
		}
		b.WriteString(l.Text)
		if !strings.HasSuffix(l.Text, "\n") {
			b.WriteByte('\n')
		}
	}
	if r.LogsCut {
		b.WriteString("[more output was dropped]\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func printTimings(w io.Writer, r *dispatcher.Result) error {
	path := string(r.Path)
	if r.Pooled {
		path += ", pooled shell"
	}
	if r.NodeID != "" {
		path += ", node " + short(r.NodeID)
	}
	if r.Platform != "" {
		path += ", on " + r.Platform
	}
	if _, err := fmt.Fprintf(w, "started from %s\n", path); err != nil {
		return err
	}
	t := newTable("PHASE", ">TIME", "WHAT")
	for _, p := range []struct {
		name string
		d    string
		what string
	}{
		{"match", formatDuration(r.Timings.Match), "choose the snapshot"},
		{"shell", formatDuration(r.Timings.Shell), "get a machine"},
		{"deploy", formatDuration(r.Timings.Deploy), fmt.Sprintf("bring it to the snapshot: %s pages copied, %s mapped", formatPages(r.PagesCopied), formatPages(r.PagesMapped))},
		{"load", formatDuration(r.Timings.Load), "load the code"},
		{"run", formatDuration(r.Timings.Run), fmt.Sprintf("run the handler: %s pages dirtied, %s paged in", formatPages(r.PagesDirtied), formatPages(r.PagesPagedIn))},
		{"total", formatDuration(r.Timings.Total), ""},
	} {
		t.row(p.name, p.d, p.what)
	}
	if err := t.print(w); err != nil {
		return err
	}
	if r.PrivateBytes+r.SharedBytes > 0 {
		if _, err := fmt.Fprintf(w, "resident: %s of its own, %s shared with other instances of its snapshots\n", formatBytes(r.PrivateBytes), formatBytes(r.SharedBytes)); err != nil {
			return err
		}
	}
	if calls := formatCalls(r.Unsupported); calls != "" {
		if _, err := fmt.Fprintf(w, "system calls refused with ENOSYS: %s\n", calls); err != nil {
			return err
		}
	}
	for _, id := range r.Captured {
		if _, err := fmt.Fprintf(w, "captured argument snapshot %s\n", short(id)); err != nil {
			return err
		}
	}
	return nil
}

// formatCalls lists system calls with how often they were made.
func formatCalls(counts map[string]uint32) string {
	var calls []string
	for name, n := range counts {
		calls = append(calls, fmt.Sprintf("%s (%d)", name, n))
	}
	slices.Sort(calls)
	return strings.Join(calls, ", ")
}

func printCandidates(w io.Writer, candidates []dispatcher.Candidate) error {
	t := newTable("", "NODE", "KIND", ">DEPTH", ">PAGES", ">READY", ">SAVES", ">PREDICTED", "KEY", "WHY")
	for _, c := range candidates {
		mark := ""
		if c.Chosen {
			mark = "*"
		}
		t.row(mark, short(c.NodeID), string(c.Kind), fmt.Sprint(c.Depth), formatPages(c.Pages), fmt.Sprint(c.Ready), formatDuration(c.Saved), formatDuration(c.Total), c.Key, c.Reason)
	}
	return t.print(w)
}
