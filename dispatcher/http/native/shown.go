package native

import (
	"net/http"
	"slices"

	"seuss/dispatcher"
	"seuss/dispatcher/access"
	"seuss/dispatcher/api"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/http/server"
	"seuss/lineage"
)

// What a caller is shown: of functions, instances and snapshots those that he reaches,
// and by the names that he calls them.

func (s *door) nativeFunctions(w http.ResponseWriter, r *http.Request) error {
	p := server.PrincipalOf(r)
	var list []api.Function
	var err error
	if owners, all := p.Owners(); all {
		list, err = s.Service.Functions(r.Context())
		list = slices.DeleteFunc(list, func(f api.Function) bool { return !p.Reaches(f.Name) })
	} else {
		list, err = s.Service.FunctionsWhere(owners, p.Reaches)
	}
	if err != nil {
		s.Log.Warn("some deployments cannot be read", "error", err)
	}
	for i := range list {
		shownFunction(r, &list[i])
	}
	server.WriteJSON(w, http.StatusOK, list)
	return nil
}

func (s *door) nativeFunction(w http.ResponseWriter, r *http.Request) error {
	name, err := s.deployment(r)
	if err != nil {
		return err
	}
	if name, err = s.Service.Resolve(name); err != nil {
		return err
	}
	f, err := s.Service.Describe(name)
	return answer(w, http.StatusOK, shownFunction(r, f), err)
}

func (s *door) nativeImported(w http.ResponseWriter, r *http.Request) error {
	name, err := s.deployment(r)
	if err != nil {
		return err
	}
	record, err := s.Service.FunctionImports(r.Context(), name)
	return answer(w, http.StatusOK, record, err)
}

// shownFunction gives a function the caller's name for it. A nil one stays nil.
func shownFunction(r *http.Request, f *api.Function) *api.Function {
	if f != nil {
		if owner := functions.OwnerOf(f.Name); owner != functions.DefaultOwner {
			f.Owner = owner
		}
		f.Name = server.Shown(r, f.Name)
	}
	return f
}

// reaches reports whether a caller may see a snapshot: one of a function that he
// reaches, or one that holds what came from an image, which is everybody's.
func reaches(p *access.Principal, n *lineage.Info) bool {
	return !n.Private() || p.Reaches(n.Key.Function)
}

// shownSnapshot gives a snapshot the caller's name for its function.
func shownSnapshot(r *http.Request, n *api.Snapshot) *api.Snapshot {
	if n != nil && n.Key.Function != "" {
		n.Key.Function = server.Shown(r, n.Key.Function)
	}
	return n
}

// snapshots lists those that the caller may see, and of them those that are wanted; nil:
// all.
func (s *door) snapshots(r *http.Request, wanted func(*lineage.Node) bool) []*api.Snapshot {
	p := server.PrincipalOf(r)
	list := s.Service.SnapshotsWhere(func(n *lineage.Node) bool { return reaches(p, &n.Info) && (wanted == nil || wanted(n)) })
	for _, n := range list {
		shownSnapshot(r, n)
		if !p.Everywhere() && !n.Private() {
			n.Hits = 0 // they tell of others
		}
	}
	return list
}

// snapshot finds one that the caller may see. By the beginning of an id he finds those
// only: whether another one begins so is not told.
func (s *door) snapshot(r *http.Request, ref string) (*api.Snapshot, error) {
	p := server.PrincipalOf(r)
	if p.Everywhere() {
		n, err := s.Service.Snapshot(r.Context(), ref)
		return shownSnapshot(r, n), err
	}
	return api.Find(s.snapshots(r, nil), ref)
}

func shownInstances(r *http.Request, list []dispatcher.Instance) []dispatcher.Instance {
	p := server.PrincipalOf(r)
	list = slices.DeleteFunc(list, func(i dispatcher.Instance) bool { return !p.Reaches(i.Function) })
	for i := range list {
		list[i].Function = server.Shown(r, list[i].Function)
	}
	return list
}
