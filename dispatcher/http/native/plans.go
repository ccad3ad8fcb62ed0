package native

import (
	"net/http"
	"slices"

	"seuss/dispatcher/access"
	"seuss/dispatcher/http/server"
	"seuss/dispatcher/planner"
)

// maxPlanRequest bounds a plan: planner.MaxNodes with some hundred packages each.
const maxPlanRequest = 32 << 20

// plans are those that are applied. An owner has his own; who may do everything
// everywhere has those for everybody's functions too.
type plans struct{ *server.Server }

func mayShare(p *access.Principal) bool { return p.Has(access.Admin) && p.Everywhere() }

func (s plans) apply(w http.ResponseWriter, r *http.Request) error {
	var ask planner.Ask
	if err := read(r, maxPlanRequest, &ask); err != nil {
		return err
	}
	if err := s.allow(r, &ask.Which); err != nil {
		return err
	}
	status, err := s.Service.ApplyPlan(r.Context(), ask)
	if err == nil {
		s.Log.Info("a plan is applied", "image", status.Image, "owner", status.Owner, "nodes", len(status.Nodes), "token", server.PrincipalOf(r).Name)
	}
	return answer(w, http.StatusAccepted, status, err)
}

// allow says whose plan it is that is asked for.
func (s plans) allow(r *http.Request, which *planner.Which) error {
	p := server.PrincipalOf(r)
	if which.Owner = p.Owner; which.Shared && !mayShare(p) {
		return &server.Refusal{Status: http.StatusForbidden, Code: "AccessDeniedException", Message: "A plan for everybody's functions takes the right to admin on all functions of all owners; leave out shared for one of your own."}
	}
	return nil
}

func (s plans) list(w http.ResponseWriter, r *http.Request) error {
	p := server.PrincipalOf(r)
	list, err := s.Service.Plans(r.Context())
	if !p.Everywhere() {
		list = slices.DeleteFunc(list, func(st *planner.Status) bool { return st.Owner != "" && st.Owner != p.Owner })
		for _, st := range list {
			st.Moving, st.Moved = 0, 0 // these tell of others
			for i := range st.Nodes {
				st.Nodes[i].Hits = 0
			}
		}
	}
	return answer(w, http.StatusOK, list, err)
}

// start says why a function's code is loaded where it is.
func (s plans) start(w http.ResponseWriter, r *http.Request) error {
	f, err := s.NameIn(r, "")
	if err != nil {
		return err
	}
	start, err := s.Service.FunctionStart(r.Context(), f.Deployment())
	return answer(w, http.StatusOK, start, err)
}

// tiers says what starts have found there.
func (s plans) tiers(w http.ResponseWriter, r *http.Request) error {
	t, err := s.Service.Tiers(r.Context())
	return answer(w, http.StatusOK, t, err)
}

func (s plans) drop(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	which := planner.Which{Image: q.Get("image"), Runtime: q.Get("runtime"), Shared: q.Get("shared") == "true"}
	if err := s.allow(r, &which); err != nil {
		return err
	}
	return done(w, s.Service.DropPlan(r.Context(), which))
}
