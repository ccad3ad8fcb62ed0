package native

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"seuss/dispatcher/access"
	"seuss/dispatcher/api"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/http/server"
	"seuss/dispatcher/instance"
	"seuss/dispatcher/instances"
)

// tape is output on its way to a client, who may be behind by what instance.Lines keeps:
// beyond that he loses some. Nobody waits for him.
type tape struct {
	mu    sync.Mutex
	lines instance.Lines
	lost  uint64
	more  chan struct{}
}

func (t *tape) write(fd uint16, p []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lost += uint64(t.lines.Write(fd, p))
	select {
	case t.more <- struct{}{}:
	default:
	}
}

func (t *tape) take() (lines []instance.LogLine, lost uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines, _ = t.lines.Take()
	lost = t.lost
	t.lines, t.lost = instance.Lines{}, 0
	return lines, lost
}

// stream answers with api.Pieces, a line each.
func (l live) stream(w http.ResponseWriter, r *http.Request, i *instances.Instance, call *instances.Call) error {
	t := &tape{more: make(chan struct{}, 1)}
	call.Output = t.write
	over := make(chan struct{})
	var last api.Piece
	go func() {
		defer close(over)
		a, err := i.Do(r.Context(), call)
		if last.Answer = a; err != nil {
			doc := api.ErrorOf(err, server.RequestIDOf(r))
			last.Error = &doc
		}
	}()
	w.Header().Set("Content-Type", "application/x-ndjson")
	encoder, control := json.NewEncoder(w), http.NewResponseController(w)
	for running := true; ; {
		select {
		case <-t.more:
		case <-over:
			running = false
		}
		lines, lost := t.take()
		for at := range lines {
			if encoder.Encode(api.Piece{Output: &lines[at]}) != nil {
				<-over // nobody hears it, and the instance is at it still
				return nil
			}
		}
		if !running {
			last.Lost = lost
			encoder.Encode(last)
			return nil
		}
		t.mu.Lock()
		t.lost += lost
		t.mu.Unlock()
		if control.Flush() != nil {
			<-over
			return nil
		}
	}
}

// logs answers with what an instance has printed last; with follow as server-sent events,
// that go on until it is gone.
func (l live) logs(w http.ResponseWriter, r *http.Request) error {
	i, err := l.find(r)
	if err != nil {
		return err
	}
	lines, next, more := i.Logs(0)
	if r.URL.Query().Get("follow") != "true" {
		server.WriteJSON(w, http.StatusOK, append([]instance.LogLine{}, lines...))
		return nil
	}
	leave, err := l.watching.enter(server.PrincipalOf(r).Owner)
	if err != nil {
		return err
	}
	defer leave()
	beginEvents(w)
	info := i.Info()
	key := functions.Key(info.Owner, info.Name)
	return l.follow(w, r, key, func() (<-chan struct{}, bool) {
		for at := range lines {
			sendEvent(w, "output", &lines[at])
		}
		if more == nil {
			endEvents(w, "the instance is gone")
			return nil, false
		}
		changed := more
		lines, more = nil, nil
		return changed, true
	}, func() { lines, next, more = i.Logs(next) })
}

// follow calls send, and again when what it returned is closed, after read; until the client,
// the service or the client's right has gone.
func (l live) follow(w http.ResponseWriter, r *http.Request, key string, send func() (<-chan struct{}, bool), read func()) error {
	control := http.NewResponseController(w)
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for {
		changed, goesOn := send()
		if control.Flush() != nil || !goesOn {
			return nil
		}
		for waiting := true; waiting; {
			tokens := l.TokensReplaced()
			if !l.StillMay(r, access.Read, key) {
				endEvents(w, tokenTaken)
				return nil
			}
			select {
			case <-changed:
				read()
				waiting = false
			case <-tokens:
			case <-r.Context().Done():
				return nil
			case <-l.Stopping():
				endEvents(w, serviceEnds)
				return nil
			case <-tick.C:
				fmt.Fprint(w, ": alive\n\n")
				if control.Flush() != nil {
					return nil
				}
			}
		}
	}
}

// watchInstances sends the changes of instances as server-sent events: first each that there
// is, as "instance", then "ready", then each that changes, as it is then.
func (l live) watchInstances(w http.ResponseWriter, r *http.Request) error {
	p := server.PrincipalOf(r)
	leave, err := l.watching.enter(p.Owner)
	if err != nil {
		return err
	}
	defer leave()
	watcher := l.Service.Live().Watch() // before the list, so that no change is missed
	defer watcher.Close()
	beginEvents(w)
	for _, info := range l.Service.Live().List(func(i *instances.Info) bool { return seen(p, i) }) {
		sendEvent(w, "instance", shownInstance(r, info))
	}
	sendEvent(w, "ready", struct{}{})
	control := http.NewResponseController(w)
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for {
		if control.Flush() != nil {
			return nil
		}
		tokens := l.TokensReplaced()
		if !l.StillMay(r, access.Read, "") {
			endEvents(w, tokenTaken)
			return nil
		}
		select {
		case info, ok := <-watcher.Changes():
			if !ok {
				endEvents(w, "more has changed than was read: watch again")
				return nil
			}
			if seen(server.PrincipalOf(r), &info) { // as of now
				sendEvent(w, "instance", shownInstance(r, info))
			}
		case <-tokens:
		case <-r.Context().Done():
			return nil
		case <-l.Stopping():
			endEvents(w, serviceEnds)
			return nil
		case <-tick.C:
			fmt.Fprint(w, ": alive\n\n")
		}
	}
}
