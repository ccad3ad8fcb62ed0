package lambda

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"seuss/dispatcher"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/http/server"
)

// maxListItems is the most that one answer lists (API reference, ListFunctions).
const maxListItems = 50

// page cuts a list as Marker and MaxItems ask for. Marker is the place of the
// first item.
func page[T any](r *http.Request, list []T) ([]T, string, error) {
	q := r.URL.Query()
	first, limit := 0, maxListItems
	if m := q.Get("Marker"); m != "" {
		n, err := strconv.Atoi(m)
		if err != nil || n < 0 {
			return nil, "", server.InvalidParameter("Invalid Marker %q.", m)
		}
		first = min(n, len(list))
	}
	if m := q.Get("MaxItems"); m != "" {
		n, err := strconv.Atoi(m)
		if err != nil || n < 1 || n > 10000 {
			return nil, "", server.Validation("maxItems", m, "Member must have value between 1 and 10000")
		}
		limit = min(n, maxListItems)
	}
	next := ""
	end := min(first+limit, len(list))
	if end < len(list) {
		next = strconv.Itoa(end)
	}
	return list[first:end], next, nil
}

func (s *door) listFunctions(w http.ResponseWriter, r *http.Request) error {
	all := false
	switch v := r.URL.Query().Get("FunctionVersion"); v {
	case "":
	case "ALL":
		all = true
	default:
		return server.Validation("functionVersion", v, "Member must satisfy enum value set: [ALL]")
	}
	if v := r.URL.Query().Get("MasterRegion"); v != "" {
		return server.InvalidParameter("MasterRegion %q is not supported: there is this one region, %s.", v, s.Region)
	}
	p := server.PrincipalOf(r)
	list, err := s.Service.Owned(p.Owner)
	if err != nil {
		s.Log.Warn("some deployments cannot be read", "error", err)
	}
	deployed := slices.DeleteFunc(list, func(f functions.Function) bool {
		return !all && strings.Contains(f.Name, ":") || !p.Reaches(f.Name)
	})
	return s.answerList(w, r, deployed, "Functions", all)
}

func (s *door) answerList(w http.ResponseWriter, r *http.Request, deployed []functions.Function, field string, qualified bool) error {
	part, next, err := page(r, deployed)
	if err != nil {
		return err
	}
	list := []*functionConfiguration{}
	for _, f := range part {
		qualifier := ""
		if qualified {
			qualifier = dispatcher.VersionOf(f.Name)
		}
		list = append(list, s.configuration(&f, qualifier))
	}
	writePage(w, field, list, next)
	return nil
}

// answerPage answers with the page of a list that is asked for.
func answerPage[T any](w http.ResponseWriter, r *http.Request, list []T, field string) error {
	part, next, err := page(r, list)
	if err != nil {
		return err
	}
	writePage(w, field, part, next)
	return nil
}

func writePage(w http.ResponseWriter, field string, part any, next string) {
	answer := map[string]any{field: part}
	if next != "" {
		answer["NextMarker"] = next
	}
	server.WriteJSON(w, http.StatusOK, answer)
}
