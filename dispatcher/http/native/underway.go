package native

import (
	"fmt"
	"net/http"
	"strconv"

	"seuss/dispatcher/admission"
	"seuss/dispatcher/api"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/http/server"
	"seuss/lineage"
)

// underWay is what waits and runs of the functions that a caller reaches.
type underWay struct{ *server.Server }

func (s underWay) list(w http.ResponseWriter, r *http.Request) error {
	q := admission.Query{Wanted: server.PrincipalOf(r).Reaches, After: r.URL.Query().Get("after"), Most: admission.DefaultUnderWay}
	if text := r.URL.Query().Get("limit"); text != "" {
		var err error
		if q.Most, err = strconv.Atoi(text); err != nil {
			return fmt.Errorf("limit %q: want a number: %w", text, lineage.ErrInvalid)
		}
	}
	var doc api.UnderWay
	var err error
	doc.Invocations, doc.Total, doc.Next, err = s.Admission.List(q)
	for i := range doc.Invocations {
		u := &doc.Invocations[i]
		if owner := functions.OwnerOf(u.Function); owner != functions.DefaultOwner {
			u.Owner = owner
		}
		if u.Function = server.Shown(r, u.Function); functions.NameOf(u.Function) == "" {
			u.Function = "" // what belongs to an image
		}
	}
	return answer(w, http.StatusOK, &doc, err)
}

func (s underWay) kill(w http.ResponseWriter, r *http.Request) error {
	p, id := server.PrincipalOf(r), r.PathValue("id")
	if err := s.Admission.Kill(id, p.Reaches); err != nil {
		return fmt.Errorf("kill %q: %w", id, err)
	}
	s.Log.Info("what was under way was killed", "request_id", id, "token", p.Name)
	return done(w, nil)
}
