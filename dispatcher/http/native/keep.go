package native

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"seuss/dispatcher/api"
	"seuss/dispatcher/http/server"
	"seuss/lineage"
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
	if in.UnusedMS < 0 {
		return fmt.Errorf("collect: unused for %d ms: %w", in.UnusedMS, lineage.ErrInvalid)
	}
	report, err := s.Service.Collect(lineage.GCOptions{
		Budget: in.BudgetBytes, Unused: time.Duration(in.UnusedMS) * time.Millisecond, Damaged: in.Damaged, DryRun: in.DryRun,
	})
	if err != nil {
		return err
	}
	server.WriteJSON(w, http.StatusOK, report)
	return nil
}

// nativeMark changes a pin, a tag or an expiry.
func (s *door) nativeMark(w http.ResponseWriter, r *http.Request) error {
	var in api.Mark
	if err := read(r, maxSmallRequest, &in); err != nil {
		return err
	}
	store := s.Service.Store()
	if in.Action == api.Untag {
		if err := store.Marks().RemoveTag(in.Tag); err != nil {
			return err
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	n, err := store.Get(in.Node)
	if err != nil {
		return err
	}
	switch in.Action {
	case api.Pin:
		err = store.Marks().Pin(n.ID, in.At)
	case api.Unpin:
		err = store.Marks().Unpin(n.ID)
	case api.Tag:
		err = store.Marks().SetTag(in.Tag, n.ID)
	case api.Expire:
		err = store.Marks().SetExpiry(n.ID, in.At)
	default:
		err = fmt.Errorf("mark %s: action %q: %w", n.ID, in.Action, lineage.ErrInvalid)
	}
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// nativeForm stores a node's file anew in another form.
func (s *door) nativeForm(w http.ResponseWriter, r *http.Request) error {
	var in api.Reform
	if err := read(r, maxSmallRequest, &in); err != nil {
		return err
	}
	var form lineage.Form
	switch in.Form {
	case lineage.FormPages.String():
		form = lineage.FormPages
	case lineage.FormDifferences.String():
		form = lineage.FormDifferences
	default:
		return fmt.Errorf("form %q: want pages or differences: %w", in.Form, lineage.ErrInvalid)
	}
	n, err := s.Service.Store().Get(r.PathValue("id"))
	if err != nil {
		return err
	}
	before, after, err := s.Service.Store().Reform(n.ID, form)
	if err != nil {
		return err
	}
	server.WriteJSON(w, http.StatusOK, api.Reformed{Before: before, After: after})
	return nil
}

// nativeFlatten makes a node that holds what the chain above another one does.
func (s *door) nativeFlatten(w http.ResponseWriter, r *http.Request) error {
	var in api.Flatten
	if err := read(r, maxSmallRequest, &in); err != nil {
		return err
	}
	n, err := s.Service.Store().Get(r.PathValue("id"))
	if err != nil {
		return err
	}
	onto := ""
	if in.Onto != "" {
		a, err := s.Service.Store().Get(in.Onto)
		if err != nil {
			return err
		}
		onto = a.ID
	}
	flat, err := s.Service.Store().Flatten(n.ID, onto)
	return s.answerNode(w, http.StatusCreated, flat, err)
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
	done, err := s.Service.Receive(r.Context(), src, q.Get("tag"))
	if err = errors.Join(err, src.Close()); err != nil {
		return err
	}
	doc := api.Imported{Node: s.snapshot(done.Node), Added: []*api.Snapshot{}, Bytes: done.Bytes, Skipped: done.Skipped, NameTaken: done.NameTaken}
	for _, n := range done.Added {
		doc.Added = append(doc.Added, s.snapshot(n))
	}
	server.WriteJSON(w, http.StatusOK, doc)
	return nil
}
