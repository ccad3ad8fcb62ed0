package native

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"seuss/dispatcher"
	"seuss/dispatcher/access"
	"seuss/dispatcher/api"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/http/server"
	"seuss/dispatcher/instances"
)

// live is the API's part for instances that live on. To tokens their names are names of
// functions: one that is limited to some reaches instances of these names.
type live struct {
	*door
	look *inspector
}

func (l live) routes() map[string]func(http.ResponseWriter, *http.Request) error {
	return map[string]func(http.ResponseWriter, *http.Request) error{
		"POST /v1/instances":                   l.create,
		"GET /v1/instances":                    l.list,
		"GET /v1/instances/{name}":             l.show,
		"DELETE /v1/instances/{name}":          l.remove,
		"POST /v1/instances/{name}/exec":       l.exec,
		"POST /v1/instances/{name}/invoke":     l.invoke,
		"POST /v1/instances/{name}/pause":      l.pause,
		"POST /v1/instances/{name}/resume":     l.resume,
		"POST /v1/instances/{name}/fork":       l.fork,
		"POST /v1/instances/{name}/forward":    l.forward,
		"POST /v1/instances/{name}/checkpoint": l.checkpoint,
		"POST /v1/instances/{name}/rollback":   l.rollback,
		"GET /v1/instances/{name}/files":       l.getFiles,
		"PUT /v1/instances/{name}/files":       l.putFiles,
		"GET /v1/instances/{name}/diff":        func(w http.ResponseWriter, r *http.Request) error { return l.look.diffLive(l, w, r) },
		"GET /v1/instances/{name}/wait":        l.wait,
		"GET /v1/instances/{name}/logs":        l.logs,
		"GET /v1/watch/instances":              l.watchInstances,
	}
}

// find finds the instance in a request's path.
func (l live) find(r *http.Request) (*instances.Instance, error) {
	return l.named(r, r.PathValue("name"))
}

// named finds the instance of a caller's name for it.
func (l live) named(r *http.Request, name string) (*instances.Instance, error) {
	p := server.PrincipalOf(r)
	key := functions.KeyFor(p.Owner, name)
	if !p.Reaches(key) {
		return nil, fmt.Errorf("%w: %q", instances.ErrUnknown, name)
	}
	return l.Service.Live().Get(functions.OwnerOf(key), functions.NameOf(key))
}

// seen reports whether a caller may see an instance.
func seen(p *access.Principal, i *instances.Info) bool {
	return p.Reaches(functions.Key(i.Owner, i.Name))
}

// shownInstance gives an instance the caller's names.
func shownInstance(r *http.Request, i instances.Info) instances.Info {
	owner := i.Owner
	i.Name = server.Shown(r, functions.Key(owner, i.Name))
	if i.Parent != "" {
		i.Parent = server.Shown(r, functions.Key(owner, i.Parent))
	}
	if i.Function != "" {
		i.Function = server.Shown(r, i.Function)
	}
	if owner == functions.DefaultOwner {
		i.Owner = ""
	}
	return i
}

func (l live) create(w http.ResponseWriter, r *http.Request) error {
	var spec instances.Spec
	if err := read(r, maxSmallRequest, &spec); err != nil {
		return err
	}
	if spec.Name == "" {
		spec.MakeUp()
	}
	key, err := newKey(r, server.PrincipalOf(r).Owner, spec.Name)
	if err != nil {
		return err
	}
	owner := functions.OwnerOf(key)
	spec.Name = functions.NameOf(key)
	if spec.Function != "" {
		f, err := l.ParseFunctionName(r, spec.Function, "")
		if err != nil {
			return err
		}
		if functions.OwnerOf(f.Key) != owner {
			return fmt.Errorf("%w: %q: an instance is of a function of its own owner's", dispatcher.ErrUnknownFunction, spec.Function)
		}
		spec.Function = f.Deployment()
	}
	if spec.Snapshot != "" {
		n, err := l.snapshot(r, spec.Snapshot)
		if err != nil {
			return err
		}
		spec.Snapshot = n.ID
	}
	info, err := l.Service.Live().Create(r.Context(), owner, spec)
	return answer(w, http.StatusCreated, shownInstance(r, info), err)
}

// newKey is the key of an instance that a caller wants to make: one that he did not reach
// would be nobody's to remove.
func newKey(r *http.Request, owner, name string) (key string, err error) {
	key = functions.KeyFor(owner, name)
	if p := server.PrincipalOf(r); !p.Reaches(key) {
		return "", &server.Refusal{Status: http.StatusForbidden, Message: fmt.Sprintf("The token %s reaches no instance of the name %q: give names that it reaches, to each copy too.", p.Name, name)}
	}
	return key, nil
}

func (l live) list(w http.ResponseWriter, r *http.Request) error {
	p := server.PrincipalOf(r)
	list := l.Service.Live().List(func(i *instances.Info) bool { return seen(p, i) })
	for at := range list {
		list[at] = shownInstance(r, list[at])
	}
	server.WriteJSON(w, http.StatusOK, list)
	return nil
}

func (l live) show(w http.ResponseWriter, r *http.Request) error {
	i, err := l.find(r)
	if err != nil {
		return err
	}
	server.WriteJSON(w, http.StatusOK, shownInstance(r, i.Info()))
	return nil
}

func (l live) remove(w http.ResponseWriter, r *http.Request) error {
	i, err := l.find(r)
	if err == nil {
		i.Remove()
	}
	return done(w, err)
}

func (l live) exec(w http.ResponseWriter, r *http.Request) error {
	i, err := l.find(r)
	if err != nil {
		return err
	}
	var call instances.Call
	if err := read(r, maxNativeRequest, &call); err != nil {
		return err
	}
	if call.Code == nil {
		return &server.Refusal{Status: http.StatusBadRequest, Message: "request: there is no code"}
	}
	if r.URL.Query().Get("stream") == "true" {
		return l.stream(w, r, i, &call)
	}
	a, err := i.Do(r.Context(), &call)
	return answer(w, http.StatusOK, a, err)
}

func (l live) invoke(w http.ResponseWriter, r *http.Request) error {
	i, err := l.find(r)
	if err != nil {
		return err
	}
	var call instances.Call
	if err := read(r, maxNativeRequest, &call); err != nil {
		return err
	}
	if call.Code != nil {
		return &server.Refusal{Status: http.StatusBadRequest, Message: "request: code is for exec"}
	}
	if call.Event == nil {
		call.Event = json.RawMessage(`{}`)
	}
	a, err := i.Do(r.Context(), &call)
	return answer(w, http.StatusOK, a, err)
}

func (l live) pause(w http.ResponseWriter, r *http.Request) error {
	durable := false
	switch text := r.URL.Query().Get("durable"); text {
	case "true":
		durable = true
	case "", "false":
	default:
		return &server.Refusal{Status: http.StatusBadRequest, Message: fmt.Sprintf("durable=%q: want true or false", text)}
	}
	return l.change(w, r, func(i *instances.Instance, ctx context.Context) error { return i.Pause(ctx, durable) })
}

func (l live) resume(w http.ResponseWriter, r *http.Request) error {
	return l.change(w, r, (*instances.Instance).Resume)
}

// change answers with what the instance is after a change.
func (l live) change(w http.ResponseWriter, r *http.Request, change func(*instances.Instance, context.Context) error) error {
	i, err := l.find(r)
	if err != nil {
		return err
	}
	if err := change(i, r.Context()); err != nil {
		return err
	}
	server.WriteJSON(w, http.StatusOK, shownInstance(r, i.Info()))
	return nil
}

func (l live) fork(w http.ResponseWriter, r *http.Request) error {
	i, err := l.find(r)
	if err != nil {
		return err
	}
	var ask api.Fork
	if err := read(r, maxSmallRequest, &ask); err != nil {
		return err
	}
	if ask.Count == 0 {
		ask.Count = max(len(ask.Names), 1)
	}
	given, owner := len(ask.Names), i.Info().Owner
	if ask.Count < given || ask.Count > instances.MaxFork {
		_, err := i.Fork(r.Context(), ask.Count, ask.Names) // says why not
		return err
	}
	names := ask.Names
	for len(names) < ask.Count {
		names = append(names, instances.NewName())
	}
	for at, name := range names {
		key, err := newKey(r, owner, name)
		if err != nil {
			return err
		}
		if functions.OwnerOf(key) != owner {
			return &server.Refusal{Status: http.StatusBadRequest, Message: fmt.Sprintf("%q is another owner's name: a copy is of its original's owner.", name)}
		}
		names[at] = functions.NameOf(key)
	}
	list, err := i.ForkAs(r.Context(), names[:given], names[given:])
	if err != nil {
		return err
	}
	for at := range list {
		list[at] = shownInstance(r, list[at])
	}
	server.WriteJSON(w, http.StatusCreated, list)
	return nil
}

func (l live) checkpoint(w http.ResponseWriter, r *http.Request) error {
	i, err := l.find(r)
	if err != nil {
		return err
	}
	var ask api.Checkpoint
	if err := read(r, maxSmallRequest, &ask); err != nil {
		return err
	}
	if ask.Tag != "" && !server.PrincipalOf(r).Everywhere() {
		return &server.Refusal{Status: http.StatusForbidden, Message: "Tags are everybody's: to give one takes a token for all functions of all owners. Leave it out, and use the node's id."}
	}
	node, err := i.Checkpoint(r.Context())
	if err == nil && ask.Tag != "" {
		err = l.Service.Mark(r.Context(), api.Mark{Action: api.Tag, Node: node, Tag: ask.Tag})
	}
	if err != nil {
		return err
	}
	n, err := l.Service.Snapshot(r.Context(), node)
	return answer(w, http.StatusCreated, shownSnapshot(r, n), err)
}

func (l live) rollback(w http.ResponseWriter, r *http.Request) error {
	var ask api.Rollback
	if err := read(r, maxSmallRequest, &ask); err != nil {
		return err
	}
	n, err := l.snapshot(r, ask.Node)
	if err != nil {
		return err
	}
	return l.change(w, r, func(i *instances.Instance, ctx context.Context) error { return i.Rollback(ctx, n.ID) })
}

// maxWait bounds how long a client waits for an instance: he may ask again.
const maxWait = 10 * time.Minute

func (l live) wait(w http.ResponseWriter, r *http.Request) error {
	i, err := l.find(r)
	if err != nil {
		return err
	}
	states := []instances.State{instances.Parked, instances.Paused, instances.Failed}
	if text := r.URL.Query().Get("state"); text != "" {
		states = []instances.State{instances.State(text)}
		if !slices.Contains([]instances.State{instances.Parked, instances.Running, instances.Paused, instances.Failed, instances.Gone}, states[0]) {
			return &server.Refusal{Status: http.StatusBadRequest, Message: fmt.Sprintf("state %q: want parked, running, paused, failed or gone", text)}
		}
	}
	leave, err := l.waiting.enter(server.PrincipalOf(r).Owner)
	if err != nil {
		return err
	}
	defer leave()
	ctx, cancel := context.WithTimeout(r.Context(), maxWait)
	defer cancel()
	go func() {
		select {
		case <-l.Stopping():
			cancel()
		case <-ctx.Done():
		}
	}()
	info, _ := i.Wait(ctx, states...) // after the time it is described as it is
	server.WriteJSON(w, http.StatusOK, shownInstance(r, info))
	return nil
}
