package httpapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"time"

	"seuss/dispatcher/api"
	"seuss/lineage"
)

func (s *Server) snapshot(n *lineage.Node) *api.Snapshot {
	item := &api.Snapshot{Info: n.Info, SharedBytes: n.SharedPages * lineage.PageSize, FileBytes: n.StoredBytes(), Hits: n.Hits(), Pure: n.Purity.Pure()}
	if n.Kind == lineage.KindImage {
		if st, err := os.Stat(s.backend.Store().ImagePath(n.ImageDigest)); err == nil {
			item.ImageBytes = uint64(st.Size())
		}
	}
	return item
}

func (s *Server) nativeSnapshots(w http.ResponseWriter, _ *http.Request) error {
	list := []*api.Snapshot{}
	for _, n := range s.backend.Store().List() {
		list = append(list, s.snapshot(n))
	}
	writeJSON(w, http.StatusOK, list)
	return nil
}

func (s *Server) nativeSnapshot(w http.ResponseWriter, r *http.Request) error {
	n, err := s.backend.Store().Get(r.PathValue("id"))
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, s.snapshot(n))
	return nil
}

func (s *Server) nativeRemoveSnapshot(w http.ResponseWriter, r *http.Request) error {
	if err := s.backend.RemoveNode(r.PathValue("id"), r.URL.Query().Get("cascade") == "true"); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) nativeRemoveImage(w http.ResponseWriter, r *http.Request) error {
	digest, nodes, err := s.backend.RemoveImage(r.PathValue("image"), r.URL.Query().Get("cascade") == "true")
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, api.RemovedImage{Image: digest, Nodes: nodes})
	return nil
}

// nativeLineage answers with the trees, images at the roots.
func (s *Server) nativeLineage(w http.ResponseWriter, _ *http.Request) error {
	trees := []*api.Snapshot{}
	for _, n := range s.backend.Store().Kind(lineage.KindImage) {
		trees = append(trees, s.tree(n))
	}
	writeJSON(w, http.StatusOK, trees)
	return nil
}

func (s *Server) tree(n *lineage.Node) *api.Snapshot {
	item := s.snapshot(n)
	for _, child := range s.backend.Store().Children(n.ID) {
		item.Children = append(item.Children, s.tree(child))
	}
	return item
}

// heartbeat is how often a watcher hears that the connection lives.
const heartbeat = 15 * time.Second

// watch sends the changes of the lineage as server-sent events: first every node
// that there is, as "added", then "ready", then each change.
func (s *Server) watch(w http.ResponseWriter, r *http.Request) {
	control := http.NewResponseController(w)
	// The server's write timeout is for answers, not for this.
	if err := control.SetWriteDeadline(time.Time{}); err != nil {
		s.log.Debug("watch", "error", err)
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	known := map[string]bool{}
	ready := false
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for {
		changed := s.backend.Store().Watch() // before reading: no change is missed
		current := map[string]bool{}
		for _, n := range s.backend.Store().List() {
			current[n.ID] = true
			if !known[n.ID] {
				sendEvent(w, "added", s.snapshot(n))
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
			case <-s.stopping:
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
