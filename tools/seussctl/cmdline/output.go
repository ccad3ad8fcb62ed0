package cmdline

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/dustin/go-humanize"

	"seuss/lineage"
)

// ShortID is how many digits of a digest tables show: 48 bits, so that even
// among a million nodes they hardly ever clash, and lookups accept any prefix.
const ShortID = 12

func Short(digest string) string { return digest[:min(len(digest), ShortID)] }

// PrintJSON prints the one document of a command with --json.
func (e *Env) PrintJSON(v any) error {
	enc := json.NewEncoder(e.Stdout)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("print result: %w", err)
	}
	return nil
}

// table lines up rows under a header. A column whose header begins with '>' is
// aligned to the right. A table without a header has rows only.
type table struct {
	header []string
	rows   [][]string
}

func NewTable(header ...string) *table { return &table{header: header} }

func (t *table) Row(cells ...string) { t.rows = append(t.rows, cells) }

func (t *table) Print(w io.Writer) error {
	// tabwriter aligns a whole table to one side, so right-aligned columns are
	// padded here first.
	right := make([]int, len(t.header))
	head := make([]string, len(t.header))
	for i, h := range t.header {
		if name, ok := strings.CutPrefix(h, ">"); ok {
			head[i], right[i] = name, width(name)
			for _, r := range t.rows {
				right[i] = max(right[i], width(r[i]))
			}
		} else {
			head[i] = h
		}
	}
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	rows := t.rows
	if len(head) > 0 {
		rows = append([][]string{head}, rows...)
	}
	for _, r := range rows {
		var b strings.Builder
		for i, cell := range r {
			if i > 0 {
				b.WriteByte('\t')
			}
			cell = Printable(cell)
			if i < len(right) {
				b.WriteString(strings.Repeat(" ", max(right[i]-width(cell), 0)))
			}
			b.WriteString(cell)
		}
		if _, err := fmt.Fprintln(tw, strings.TrimRight(b.String(), "\t ")); err != nil {
			return err
		}
	}
	return tw.Flush()
}

func width(s string) int { return len([]rune(s)) }

// Printable keeps text that came from functions and events from moving the
// cursor or breaking the table.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '·'
	}, s)
}

func FormatBytes(n uint64) string { return humanize.IBytes(n) }

func FormatPages(n uint64) string { return humanize.Comma(int64(n)) }

func PageBytes(pages uint64) uint64 { return pages * lineage.PageSize }

// FormatDuration shows three digits in the unit that people expect.
func FormatDuration(d time.Duration) string {
	switch {
	case d < time.Microsecond:
		return fmt.Sprintf("%d ns", d.Nanoseconds())
	case d < time.Millisecond:
		return fmt.Sprintf("%.3g µs", float64(d)/float64(time.Microsecond))
	case d < time.Second:
		return fmt.Sprintf("%.3g ms", float64(d)/float64(time.Millisecond))
	}
	return fmt.Sprintf("%.3g s", d.Seconds())
}

func FormatTime(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") }

// isReadOnlyFS reports an error of a file system that is mounted read-only.
func isReadOnlyFS(err error) bool { return errors.Is(err, syscall.EROFS) }

// PrintRemoved says what a command has removed.
func (e *Env) PrintRemoved(doc any, format string, args ...any) error {
	if e.JSON {
		return e.PrintJSON(doc)
	}
	_, err := fmt.Fprintf(e.Stdout, format+"\n", args...)
	return err
}

// FormatRatio shows three digits, but of a large ratio no fraction.
func FormatRatio(r float64) string {
	if r >= 100 {
		return fmt.Sprintf("%.0f", r)
	}
	return fmt.Sprintf("%.3g", r)
}

// ShellQuote writes a word for sh.
func ShellQuote(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
