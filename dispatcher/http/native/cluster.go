package native

import (
	"net/http"

	of "seuss/dispatcher/cluster"
	"seuss/dispatcher/http/server"
)

// cluster is what the daemon is a member of.
type cluster struct{ *server.Server }

func (s cluster) show(w http.ResponseWriter, _ *http.Request) error {
	if s.Cluster == nil {
		return of.ErrNone
	}
	server.WriteJSON(w, http.StatusOK, s.Cluster.Members())
	return nil
}

// cordonRequest is what is asked of a member.
type cordonRequest struct {
	Cordoned bool `json:"cordoned"`
}

func (s cluster) cordon(w http.ResponseWriter, r *http.Request) error {
	var ask cordonRequest
	if err := read(r, maxSmallRequest, &ask); err != nil {
		return err
	}
	if s.Cluster == nil {
		return of.ErrNone
	}
	host := r.PathValue("host")
	err := s.Cluster.Cordon(r.Context(), host, ask.Cordoned)
	if err == nil {
		s.Log.Info("a member is cordoned, or no longer", "member", host, "cordoned", ask.Cordoned, "token", server.PrincipalOf(r).Name)
	}
	return done(w, err)
}
