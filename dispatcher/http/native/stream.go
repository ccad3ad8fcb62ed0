package native

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"

	"seuss/dispatcher"
	"seuss/dispatcher/api"
	"seuss/dispatcher/http/server"
)

const (
	// progressEvery is how often a client at most hears how far it is.
	progressEvery = 200 * time.Millisecond
	// aliveEvery is how often it hears something even if nothing has moved.
	aliveEvery = 5 * time.Second
)

// progress is how far something is.
type progress struct {
	mu          sync.Mutex
	done, total int
}

func (p *progress) tell(done, total int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done, p.total = done, total
}

func (p *progress) get() (done, total int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.done, p.total
}

// stream answers with api.Progress, a line each, while f works, and at its end with
// f's result, or its error. f must end when the request does, and with the service.
func stream[T any](s *server.Server, w http.ResponseWriter, r *http.Request, f func(context.Context, api.Tell) (*T, error)) error {
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	var at progress
	var result *T
	var err error
	over := make(chan struct{})
	go func() {
		defer close(over)
		result, err = f(ctx, at.tell)
	}()
	w.Header().Set("Content-Type", "application/x-ndjson")
	control, encoder := http.NewResponseController(w), json.NewEncoder(w)
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	said, last := 0, time.Now()
	for {
		select {
		case <-over:
			end := api.Progress[T]{Result: result}
			if err != nil {
				doc := api.ErrorOf(err, server.RequestIDOf(r))
				end.Result, end.Error = nil, &doc
			}
			return encoder.Encode(end)
		case <-s.Stopping():
			cancel(dispatcher.ErrClosed)
			<-over
		case <-tick.C:
			done, total := at.get()
			if done == said && time.Since(last) < aliveEvery {
				continue
			}
			said, last = done, time.Now()
			if err := errors.Join(encoder.Encode(api.Progress[T]{Done: done, Total: total}), control.Flush()); err != nil {
				cancel(err) // nobody hears it any more
				<-over
				return nil
			}
		}
	}
}
