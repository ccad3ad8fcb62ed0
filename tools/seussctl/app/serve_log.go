package app

import (
	"fmt"
	"io"
	"log/slog"
	"time"
)

// newLog makes the daemon's log; format is text or json. In JSON a duration is a number,
// so its unit stands in its name: milliseconds.
func newLog(w io.Writer, format string, least slog.Level) (*slog.Logger, error) {
	o := &slog.HandlerOptions{Level: least}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, o)), nil
	case "json":
		o.ReplaceAttr = func(_ []string, a slog.Attr) slog.Attr {
			if a.Value.Kind() == slog.KindDuration {
				return slog.Float64(a.Key+"_ms", float64(a.Value.Duration())/float64(time.Millisecond))
			}
			return a
		}
		return slog.New(slog.NewJSONHandler(w, o)), nil
	}
	return nil, fmt.Errorf("log format %q", format)
}
