package native

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"seuss/dispatcher/access"
	"seuss/dispatcher/http/server"
	"seuss/lineage"
)

const (
	// heartbeat is how often a client of a stream hears that the connection lives.
	heartbeat = 15 * time.Second
	// watchPause is the least time between two looks at the lineage for one watcher: what
	// has changed meanwhile is one look.
	watchPause = 100 * time.Millisecond
)

// tokenTaken is the reason of an answer's end.
const tokenTaken = "the token may not read this any more"

// watch sends the changes of the lineage as server-sent events: first every node
// that there is, as "added", then "ready", then each change, and "end" with the reason
// when the service ends it.
func (s *door) watch(w http.ResponseWriter, r *http.Request) error {
	leave, err := s.watching.enter(server.PrincipalOf(r).Owner)
	if err != nil {
		return err
	}
	defer leave()
	beginEvents(w)
	control := http.NewResponseController(w)
	known, ready := map[string]bool{}, false
	tick, pause := time.NewTicker(heartbeat), time.NewTimer(0)
	defer tick.Stop()
	defer pause.Stop()
	for {
		// Both before reading: no change is missed.
		changed, tokens := s.Service.Watch(), s.TokensReplaced()
		if !s.StillMay(r, access.Read, "") {
			endEvents(w, tokenTaken)
			return nil
		}
		current := map[string]bool{}
		added := s.snapshots(r, func(n *lineage.Node) bool {
			current[n.ID] = true
			return !known[n.ID]
		})
		for _, n := range added {
			sendEvent(w, "added", n)
		}
		for id := range known {
			if !current[id] {
				sendEvent(w, "removed", map[string]string{"id": id})
			}
		}
		known = current
		if !ready {
			ready = true
			sendEvent(w, "ready", struct{}{})
		}
		if control.Flush() != nil {
			return nil
		}
		pause.Reset(watchPause)
		for waiting := true; waiting; {
			select {
			case <-changed:
				changed, waiting = nil, false
			case <-tokens:
				waiting = false
			case <-r.Context().Done():
				return nil
			case <-s.Stopping():
				endEvents(w, serviceEnds)
				return nil
			case <-tick.C:
				fmt.Fprint(w, ": alive\n\n")
				if control.Flush() != nil {
					return nil
				}
			}
		}
		select {
		case <-pause.C:
		case <-r.Context().Done():
			return nil
		case <-s.Stopping():
			endEvents(w, serviceEnds)
			return nil
		}
	}
}

// serviceEnds is the reason of an answer's end.
const serviceEnds = "the service ends"

// beginEvents begins an answer of server-sent events.
func beginEvents(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
}

// endEvents says why there are no more events.
func endEvents(w http.ResponseWriter, reason string) {
	sendEvent(w, "end", map[string]string{"reason": reason})
}

func sendEvent(w http.ResponseWriter, name string, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		return // documents of our own always encode
	}
	fmt.Fprintf(w, "event: %s\ndata: %s\n\n", name, b)
}
