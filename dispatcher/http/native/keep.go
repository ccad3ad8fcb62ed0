package native

import (
	"errors"
	"io"
	"net/http"
	"time"

	"seuss/dispatcher/api"
	"seuss/dispatcher/http/server"
	"seuss/lineage/oci"
)

// importTimeout is for an archive: an image in it may be large.
const importTimeout = time.Hour

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

// nativeImport takes over the nodes of an archive.
func (s *door) nativeImport(w http.ResponseWriter, r *http.Request) error {
	server.AllowBody(r, importTimeout)
	q := r.URL.Query()
	src, err := oci.OpenArchive(r.Body, q.Get("name"), 0)
	// To the end: a client that still writes would not see the answer.
	if _, readErr := io.Copy(io.Discard, io.LimitReader(r.Body, oci.DefaultMaxBytes)); err == nil && readErr != nil {
		err = errors.Join(readErr, src.Close())
	}
	if err != nil {
		return err
	}
	imported, err := s.Service.Receive(r.Context(), src, q.Get("tag"))
	return answer(w, http.StatusOK, imported, errors.Join(err, src.Close()))
}
