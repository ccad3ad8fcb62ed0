package cmdline

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"seuss/dispatcher"
	"seuss/dispatcher/bounds"
	"seuss/dispatcher/instance"
)

// Shown says what to print of a result besides output and logs.
type Shown struct{ Timings, Explain bool }

// PrintResult prints an invocation's result. The function's own failure is
// returned as the error that report prints, except with --json, where the
// document already holds it.
func (e *Env) PrintResult(r *dispatcher.Result, s Shown) error {
	e.Progress.Clear()
	if e.JSON {
		if err := e.PrintJSON(r); err != nil {
			return err
		}
		if r.Error != nil {
			return ErrFunctionReported
		}
		return nil
	}
	if err := printLogs(e.Stderr, r); err != nil {
		return err
	}
	if s.Explain {
		if err := printCandidates(e.Stderr, r.Candidates); err != nil {
			return err
		}
		if err := printBounds(e.Stderr, r.Bounds); err != nil {
			return err
		}
	}
	if s.Timings {
		if err := printTimings(e.Stderr, r); err != nil {
			return err
		}
	}
	if r.Crash != "" {
		fmt.Fprintf(e.Stderr, "%s\n", strings.TrimRight(r.Crash, "\n"))
	}
	e.NoteRefused(r.NetworkRefused)
	if r.Error != nil {
		return r.Error
	}
	_, err := fmt.Fprintf(e.Stdout, "%s\n", r.Output)
	return err
}

// printBounds says how far the instance could go.
func printBounds(w io.Writer, b *bounds.Summary) error {
	if b == nil {
		return nil
	}
	network := "nothing"
	if len(b.Network) > 0 {
		network = strings.Join(b.Network, ", ")
	}
	_, err := fmt.Fprintf(w, "may reach: %s\n", network)
	for _, what := range b.Beyond {
		if err == nil {
			_, err = fmt.Fprintf(w, "not allowed by the daemon: %s\n", what)
		}
	}
	return err
}

// printLogs copies what the function wrote. Lines keep their own ends; only the
// last one is completed.
func printLogs(w io.Writer, r *dispatcher.Result) error {
	var b strings.Builder
	for _, l := range r.Logs {
		switch l.Stream {
		case "kernel":
			b.WriteString("[guest kernel] ")
		case instance.MergedStream:
			b.WriteString("[from here on stdout and stderr are not told apart]\n")
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
		path += ", node " + Short(r.NodeID)
	}
	if r.Platform != "" {
		path += ", on " + r.Platform
	}
	if _, err := fmt.Fprintf(w, "started from %s\n", path); err != nil {
		return err
	}
	t := NewTable("PHASE", ">TIME", "WHAT")
	for _, p := range []struct {
		name string
		d    string
		what string
	}{
		{"match", FormatDuration(r.Timings.Match), "choose the snapshot"},
		{"shell", FormatDuration(r.Timings.Machine), "get a machine"},
		{"deploy", FormatDuration(r.Timings.Deploy), fmt.Sprintf("bring it to the snapshot: %s pages copied, %s mapped", FormatPages(r.PagesCopied), FormatPages(r.PagesMapped))},
		{"load", FormatDuration(r.Timings.Load), "load the code"},
		{"run", FormatDuration(r.Timings.Run), fmt.Sprintf("run the handler: %s pages dirtied, %s paged in", FormatPages(r.PagesDirtied), FormatPages(r.PagesPagedIn))},
		{"total", FormatDuration(r.Timings.Total), ""},
	} {
		t.Row(p.name, p.d, p.what)
	}
	if err := t.Print(w); err != nil {
		return err
	}
	if r.PrivateBytes+r.SharedBytes > 0 {
		if _, err := fmt.Fprintf(w, "resident: %s of its own, %s shared with other instances of its snapshots\n", FormatBytes(r.PrivateBytes), FormatBytes(r.SharedBytes)); err != nil {
			return err
		}
	}
	if calls := FormatCalls(r.Unsupported); calls != "" {
		if _, err := fmt.Fprintf(w, "system calls refused with ENOSYS: %s\n", calls); err != nil {
			return err
		}
	}
	for _, id := range r.Captured {
		if _, err := fmt.Fprintf(w, "captured argument snapshot %s\n", Short(id)); err != nil {
			return err
		}
	}
	return nil
}

// FormatCalls lists system calls with how often they were made.
func FormatCalls(counts map[string]uint32) string {
	var calls []string
	for name, n := range counts {
		calls = append(calls, fmt.Sprintf("%s (%d)", name, n))
	}
	slices.Sort(calls)
	return strings.Join(calls, ", ")
}

func printCandidates(w io.Writer, candidates []dispatcher.Candidate) error {
	t := NewTable("", "NODE", "KIND", ">DEPTH", ">PAGES", ">READY", ">SAVES", ">PREDICTED", "KEY", "WHY")
	for _, c := range candidates {
		mark := ""
		if c.Chosen {
			mark = "*"
		}
		t.Row(mark, Short(c.NodeID), string(c.Kind), fmt.Sprint(c.Depth), FormatPages(c.Pages), fmt.Sprint(c.Ready), FormatDuration(c.Saved), FormatDuration(c.Total), c.Key, c.Reason)
	}
	return t.Print(w)
}
