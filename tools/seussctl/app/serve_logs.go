package app

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"time"

	"seuss/dispatcher"
	"seuss/dispatcher/api"
	"seuss/dispatcher/logs"
)

// logsClose is how long the end of the service waits for what functions have printed to be
// written.
const logsClose = 5 * time.Second

// keptLogs are the logs of functions, which begin when it is known which functions there
// are: what comes before is not kept.
type keptLogs struct {
	options logs.Options
	store   atomic.Pointer[logs.Store]
}

// Add implements admission.Logs.
func (k *keptLogs) Add(key logs.Key, e logs.Entry) {
	if s := k.store.Load(); s != nil {
		s.Add(key, e)
	}
}

func (k *keptLogs) open(stateDir string, log *slog.Logger, deployed api.Deployments) *logs.Store {
	o := k.options
	o.Dir, o.Log = filepath.Join(stateDir, logs.Folder), log
	o.Known = func(key logs.Key) bool {
		f, err := deployed.Function(key.Function)
		return err == nil && f.ID == key.ID || err != nil && !errors.Is(err, dispatcher.ErrUnknownFunction)
	}
	s := logs.Open(o)
	k.store.Store(s)
	return s
}

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
