package native

import (
	"net/http"

	"seuss/dispatcher/api"
)

// nativeGC removes the nodes that are worth least.
func (s *door) nativeGC(w http.ResponseWriter, r *http.Request) error {
	var in api.GC
	if err := read(r, maxSmallRequest, &in); err != nil {
		return err
	}
	report, err := s.Service.Collect(r.Context(), in)
	return answer(w, http.StatusOK, report, err)
}

// nativeMark changes a pin, a tag or an expiry.
func (s *door) nativeMark(w http.ResponseWriter, r *http.Request) error {
	var in api.Mark
	if err := read(r, maxSmallRequest, &in); err != nil {
		return err
	}
	return done(w, s.Service.Mark(r.Context(), in))
}

// nativeForm stores a node's file anew in another form.
func (s *door) nativeForm(w http.ResponseWriter, r *http.Request) error {
	var in api.Reform
	if err := read(r, maxSmallRequest, &in); err != nil {
		return err
	}
	reformed, err := s.Service.Reform(r.Context(), r.PathValue("id"), in)
	return answer(w, http.StatusOK, reformed, err)
}

// nativeFlatten makes a node that holds what the chain above another one does.
func (s *door) nativeFlatten(w http.ResponseWriter, r *http.Request) error {
	var in api.Flatten
	if err := read(r, maxSmallRequest, &in); err != nil {
		return err
	}
	flat, err := s.Service.Flatten(r.Context(), r.PathValue("id"), in)
	return answer(w, http.StatusCreated, flat, err)
}
