package native

import (
	"net/http"

	"seuss/dispatcher/api"
)

func (s *door) nativeSnapshots(w http.ResponseWriter, r *http.Request) error {
	return answer(w, http.StatusOK, s.snapshots(r, nil), nil)
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
	return answer(w, http.StatusOK, api.Forest(s.snapshots(r, nil)), nil)
}
