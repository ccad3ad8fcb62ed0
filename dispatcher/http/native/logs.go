package native

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"seuss/dispatcher/access"
	"seuss/dispatcher/admission"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/http/server"
	"seuss/dispatcher/logs"
)

// readers bounds how many logs are read from the disk at a time: one takes megabytes.
var readers = make(chan struct{}, 4)

// logOf finds whose log a request is about, and which entries of it. A version or an alias
// in the name leaves those of the versions that it stands for.
func (s *door) logOf(r *http.Request) (k logs.Key, q logs.Query, err error) {
	name, err := s.deployment(r)
	if err != nil {
		return k, q, err
	}
	f, err := s.Service.Function(functions.BaseName(name))
	if err != nil {
		return k, q, err
	}
	k = logs.Key{Function: f.Name, ID: f.ID}
	ask := r.URL.Query()
	q.RequestID = ask.Get("request")
	if q.Versions, err = admission.LogVersions(&f, name); err != nil {
		return k, q, err
	}
	if text := ask.Get("since"); text != "" {
		if q.Since, err = time.Parse(time.RFC3339Nano, text); err != nil {
			return k, q, server.InvalidParameter("since: %q is no time such as 2006-01-02T15:04:05Z.", text)
		}
	}
	for _, n := range []struct {
		name, text string
		into       *uint64
	}{{"after", ask.Get("after"), &q.After}, {"Last-Event-ID", r.Header.Get("Last-Event-ID"), &q.After}} {
		if n.text != "" {
			if *n.into, err = strconv.ParseUint(n.text, 10, 64); err != nil {
				return k, q, server.InvalidParameter("%s: %q is no number of an entry.", n.name, n.text)
			}
		}
	}
	if text := ask.Get("limit"); text != "" {
		if q.Entries, err = strconv.Atoi(text); err != nil || q.Entries < 1 || q.Entries > logs.MaxEntries {
			return k, q, server.InvalidParameter("limit: %q is not 1 to %d.", text, logs.MaxEntries)
		}
	}
	return k, q, nil
}

// nativeLogs answers with entries of a function's log, or, to ?follow=true, sends them and
// those that come as server-sent events.
func (s *door) nativeLogs(w http.ResponseWriter, r *http.Request) error {
	k, q, err := s.logOf(r)
	if err != nil {
		return err
	}
	if s.Logs == nil {
		return &server.Refusal{Status: http.StatusNotFound, Message: "this service keeps no logs of functions"}
	}
	if r.URL.Query().Get("follow") == "true" {
		return s.followLogs(w, r, k, q)
	}
	list, err := s.readLogs(r.Context(), k, q)
	if list == nil {
		list = []logs.Entry{}
	}
	return answer(w, http.StatusOK, list, err)
}

func (s *door) readLogs(ctx context.Context, k logs.Key, q logs.Query) ([]logs.Entry, error) {
	select {
	case readers <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	defer func() { <-readers }()
	return s.Logs.Read(k, q)
}

// followLogs sends each entry as an event "entry" whose id is its number, and "end" with
// the reason when the service ends it. Who reads too slowly is ended so: nothing waits for
// him.
func (s *door) followLogs(w http.ResponseWriter, r *http.Request, k logs.Key, q logs.Query) error {
	f, err := s.Logs.Follow(k) // before reading: none is missed
	if errors.Is(err, logs.ErrFollowers) {
		return &server.Refusal{Status: http.StatusTooManyRequests, Message: err.Error(), RetryAfter: time.Second}
	}
	if err != nil {
		return err
	}
	defer f.Close()
	list, err := s.readLogs(r.Context(), k, q)
	if err != nil {
		return err
	}
	control := http.NewResponseController(w)
	beginEvents(w)
	send := func(e *logs.Entry) {
		if q.Fits(e) {
			q.After = e.Seq
			fmt.Fprintf(w, "id: %d\n", e.Seq)
			sendEvent(w, "entry", e)
		}
	}
	for i := range list {
		send(&list[i])
	}
	list = nil
	sendEvent(w, "ready", struct{}{})
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for {
		tokens := s.TokensReplaced() // before asking: no change is missed
		if !s.StillMay(r, access.Read, k.Function) {
			endEvents(w, tokenTaken)
			return nil
		}
		if control.Flush() != nil {
			return nil
		}
		select {
		case e, ok := <-f.C:
			if !ok {
				endEvents(w, fmt.Sprint(f.Err()))
				return nil
			}
			send(&e)
			f.Taken(&e)
		case <-r.Context().Done():
			return nil
		case <-s.Stopping():
			endEvents(w, serviceEnds)
			return nil
		case <-tokens:
		case <-tick.C:
			fmt.Fprint(w, ": alive\n\n")
		}
	}
}

// nativeEvents answers with the asynchronous events of a function that are not done, and
// those that were given up. A qualifier in the name leaves those that were sent to it.
func (s *door) nativeEvents(w http.ResponseWriter, r *http.Request) error {
	k, _, err := s.logOf(r)
	if err != nil {
		return err
	}
	name, err := s.deployment(r)
	if err != nil {
		return err
	}
	server.WriteJSON(w, http.StatusOK, s.Events.List(name, k.ID))
	return nil
}
