package native

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"seuss/dispatcher/api"
)

func (s *door) nativeSnapshots(w http.ResponseWriter, r *http.Request) error {
	list, err := s.snapshots(r)
	return answer(w, http.StatusOK, list, err)
}

func (s *door) nativeSnapshot(w http.ResponseWriter, r *http.Request) error {
	n, err := s.snapshot(r, r.PathValue("id"))
	return answer(w, http.StatusOK, n, err)
}

func (s *door) nativeRemoveSnapshot(w http.ResponseWriter, r *http.Request) error {
	return done(w, s.Service.RemoveSnapshot(r.Context(), r.PathValue("id"), r.URL.Query().Get("cascade") == "true"))
}

func (s *door) nativeRemoveImage(w http.ResponseWriter, r *http.Request) error {
	removed, err := s.Service.RemoveImage(r.Context(), r.PathValue("image"), r.URL.Query().Get("cascade") == "true")
	return answer(w, http.StatusOK, removed, err)
}

// nativeLineage answers with the trees, images at the roots.
func (s *door) nativeLineage(w http.ResponseWriter, r *http.Request) error {
	list, err := s.snapshots(r)
	return answer(w, http.StatusOK, api.Forest(list), err)
}

// heartbeat is how often a watcher hears that the connection lives.
const heartbeat = 15 * time.Second

// watch sends the changes of the lineage as server-sent events: first every node
// that there is, as "added", then "ready", then each change.
func (s *door) watch(w http.ResponseWriter, r *http.Request) {
	control := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	known := map[string]bool{}
	ready := false
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for {
		changed := s.Service.Watch() // before reading: no change is missed
		list, err := s.snapshots(r)
		if err != nil {
			s.Log.Error("watch", "error", err)
			return
		}
		current := map[string]bool{}
		for _, n := range list {
			current[n.ID] = true
			if !known[n.ID] {
				sendEvent(w, "added", n)
			}
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
			return
		}
		for waiting := true; waiting; {
			select {
			case <-changed:
				waiting = false
			case <-r.Context().Done():
				return
			case <-s.Stopping():
				return
			case <-tick.C:
				fmt.Fprint(w, ": alive\n\n")
				if control.Flush() != nil {
					return
				}
			}
		}
	}
}

func sendEvent(w http.ResponseWriter, name string, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		return // documents of our own always encode
	}
	fmt.Fprintf(w, "event: %s\ndata: %s\n\n", name, b)
}
