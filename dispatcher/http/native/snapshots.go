package native

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"time"

	"seuss/dispatcher/api"
	"seuss/dispatcher/http/server"
	"seuss/lineage"
)

func (s *door) snapshot(n *lineage.Node) *api.Snapshot {
	item := &api.Snapshot{Info: n.Info, SharedBytes: n.SharedPages * lineage.PageSize, FileBytes: n.StoredBytes(), Hits: n.Hits(), Pure: n.Purity.Pure()}
	if n.Kind == lineage.KindImage {
		if st, err := os.Stat(s.Service.Store().ImagePath(n.ImageDigest)); err == nil {
			item.ImageBytes = uint64(st.Size())
		}
	}
	return item
}

func (s *door) nativeSnapshots(w http.ResponseWriter, _ *http.Request) error {
	list := []*api.Snapshot{}
	for _, n := range s.Service.Store().List() {
		list = append(list, s.snapshot(n))
	}
	server.WriteJSON(w, http.StatusOK, list)
	return nil
}

func (s *door) nativeSnapshot(w http.ResponseWriter, r *http.Request) error {
	n, err := s.Service.Store().Get(r.PathValue("id"))
	if err != nil {
		return err
	}
	server.WriteJSON(w, http.StatusOK, s.snapshot(n))
	return nil
}

func (s *door) nativeRemoveSnapshot(w http.ResponseWriter, r *http.Request) error {
	if err := s.Service.RemoveNode(r.PathValue("id"), r.URL.Query().Get("cascade") == "true"); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *door) nativeRemoveImage(w http.ResponseWriter, r *http.Request) error {
	digest, nodes, err := s.Service.RemoveImage(r.PathValue("image"), r.URL.Query().Get("cascade") == "true")
	if err != nil {
		return err
	}
	server.WriteJSON(w, http.StatusOK, api.RemovedImage{Image: digest, Nodes: nodes})
	return nil
}

// nativeLineage answers with the trees, images at the roots.
func (s *door) nativeLineage(w http.ResponseWriter, _ *http.Request) error {
	trees := []*api.Snapshot{}
	for _, n := range s.Service.Store().Kind(lineage.KindImage) {
		trees = append(trees, s.tree(n))
	}
	server.WriteJSON(w, http.StatusOK, trees)
	return nil
}

func (s *door) tree(n *lineage.Node) *api.Snapshot {
	item := s.snapshot(n)
	for _, child := range s.Service.Store().Children(n.ID) {
		item.Children = append(item.Children, s.tree(child))
	}
	return item
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
		changed := s.Service.Store().Catalogue().Watch() // before reading: no change is missed
		current := map[string]bool{}
		for _, n := range s.Service.Store().List() {
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
