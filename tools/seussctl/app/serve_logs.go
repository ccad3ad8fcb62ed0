package app

import (
	"errors"
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
