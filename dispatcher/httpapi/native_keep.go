package httpapi

import (
	"fmt"
	"net/http"
	"time"

	"seuss/dispatcher/api"
	"seuss/lineage"
)

// nativeGC removes the nodes that are worth least.
func (s *Server) nativeGC(w http.ResponseWriter, r *http.Request) error {
	var in api.GC
	if err := read(r, maxConfigRequest, &in); err != nil {
		return err
	}
	if in.UnusedMS < 0 {
		return fmt.Errorf("collect: unused for %d ms: %w", in.UnusedMS, lineage.ErrInvalid)
	}
	report, err := s.backend.Collect(lineage.GCOptions{
		Budget: in.BudgetBytes, Unused: time.Duration(in.UnusedMS) * time.Millisecond, Damaged: in.Damaged, DryRun: in.DryRun,
	})
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, report)
	return nil
}

// nativeMark changes a pin, a tag or an expiry.
func (s *Server) nativeMark(w http.ResponseWriter, r *http.Request) error {
	var in api.Mark
	if err := read(r, maxConfigRequest, &in); err != nil {
		return err
	}
	store := s.backend.Store()
	if in.Action == api.Untag {
		if err := store.RemoveTag(in.Tag); err != nil {
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
		err = store.Pin(n.ID, in.At)
	case api.Unpin:
		err = store.Unpin(n.ID)
	case api.Tag:
		err = store.SetTag(in.Tag, n.ID)
	case api.Expire:
		err = store.SetExpiry(n.ID, in.At)
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
func (s *Server) nativeForm(w http.ResponseWriter, r *http.Request) error {
	var in api.Reform
	if err := read(r, maxConfigRequest, &in); err != nil {
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
	n, err := s.backend.Store().Get(r.PathValue("id"))
	if err != nil {
		return err
	}
	before, after, err := s.backend.Store().Reform(n.ID, form)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, api.Reformed{Before: before, After: after})
	return nil
}

// nativeFlatten makes a node that holds what the chain above another one does.
func (s *Server) nativeFlatten(w http.ResponseWriter, r *http.Request) error {
	var in api.Flatten
	if err := read(r, maxConfigRequest, &in); err != nil {
		return err
	}
	n, err := s.backend.Store().Get(r.PathValue("id"))
	if err != nil {
		return err
	}
	onto := ""
	if in.Onto != "" {
		a, err := s.backend.Store().Get(in.Onto)
		if err != nil {
			return err
		}
		onto = a.ID
	}
	flat, err := s.backend.Store().Flatten(n.ID, onto)
	return s.answerNode(w, http.StatusCreated, flat, err)
}
