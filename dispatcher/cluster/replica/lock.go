package replica

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"seuss/dispatcher/cluster/peers"
	"seuss/dispatcher/functions"
	"seuss/lineage"
)

// keeperPoll is how often a keeper is looked for that answers.
const keeperPoll = 100 * time.Millisecond

// keeper chooses the member that keeps a function's lock (rendezvous hashing): whoever sees
// the same members chooses the same one, and when one goes only what it kept moves.
func (r *Replica) keeper(function string) string {
	best, most := r.o.Member, uint64(0)
	for _, member := range append(r.o.Here(), r.o.Member) {
		h := fnv.New64a()
		io.WriteString(h, member+" "+function)
		if n := h.Sum64(); n > most || n == most && member < best {
			best, most = member, n
		}
	}
	return best
}

// Lock waits until no other member changes a function, and has what the last one that did has
// made of it. unlock tells the others what has changed, and waits for those that are here to
// have it.
func (r *Replica) Lock(ctx context.Context, function string) (unlock func(), err error) {
	var keeper string
	var known map[string]functions.Mark
	var free func()
	for end := time.Now().Add(r.o.Patience); ; {
		if keeper = r.keeper(function); keeper != r.o.Member {
			known, free, err = r.ask(ctx, keeper, function)
		} else if free, err = r.locks.Lock(ctx, function); err == nil {
			known = r.knownOf(function)
		}
		if !errors.Is(err, ErrKeeper) || time.Now().After(end) {
			break
		}
		select { // soon it is seen gone, and another one is the keeper
		case <-time.After(keeperPoll):
		case <-ctx.Done():
		}
	}
	if err != nil {
		return nil, err
	}
	if err := r.catchUp(ctx, function, keeper, known); err != nil {
		free()
		return nil, err
	}
	r.mu.Lock()
	r.pending[function] = []string{}
	r.mu.Unlock()
	return func() {
		r.mu.Lock()
		keys := r.pending[function]
		delete(r.pending, function)
		r.mu.Unlock()
		r.tell(keys)
		free()
	}, nil
}

// ask has another member keep the lock of a function for this one: as long as the request is
// under way.
func (r *Replica) ask(ctx context.Context, keeper, function string) (known map[string]functions.Mark, free func(), err error) {
	held, release := context.WithCancel(r.end)
	stop := context.AfterFunc(ctx, release)
	answer, err := r.o.Peers.Do(held, keeper, http.MethodPost, "/v1/lock?function="+url.QueryEscape(function), nil, nil)
	if err == nil {
		if err = json.NewDecoder(io.LimitReader(answer.Body, maxChanges)).Decode(&known); err != nil {
			err = fmt.Errorf("member %q: %w: %w", keeper, peers.ErrUnreachable, err)
		}
	}
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err == nil {
		return known, func() {
			release()
			answer.Body.Close()
		}, nil
	}
	release()
	if answer != nil {
		answer.Body.Close()
	}
	if ctx.Err() != nil {
		return nil, nil, fmt.Errorf("wait for another change of function %q: %w", function, context.Cause(ctx))
	}
	if errors.Is(err, peers.ErrUnreachable) {
		err = fmt.Errorf("function %q: %w: %w", function, ErrKeeper, err)
	}
	return nil, nil, err
}

// serveLock keeps a function's lock for a member as long as the member's request is under way.
func (r *Replica) serveLock(w http.ResponseWriter, q *http.Request, _ string) error {
	function := q.URL.Query().Get("function")
	if !functions.ValidFunction(function) {
		return fmt.Errorf("%.100q is no function: %w", function, lineage.ErrInvalid)
	}
	free, err := r.locks.Lock(q.Context(), function)
	if err != nil {
		return err
	}
	defer free()
	if err := json.NewEncoder(w).Encode(r.knownOf(function)); err != nil {
		return nil // it has gone
	}
	if err := http.NewResponseController(w).Flush(); err != nil {
		return nil
	}
	select {
	case <-q.Context().Done():
	case <-r.end.Done():
	}
	return nil
}

// forget ends what is remembered of old removals of a function and its versions: whoever was
// started since has forgotten them.
func (r *Replica) forget(function string) {
	var removed []string
	r.mu.Lock()
	if f := r.families[bucketOf(function)][function]; f != nil {
		for _, key := range f.keys(function) {
			if !r.markLocked(key).there {
				removed = append(removed, key)
			}
		}
	}
	r.mu.Unlock()
	for _, key := range removed {
		r.store.Forget(key)
	}
}

// knownOf returns the last states of a function and its versions that this member has heard of.
func (r *Replica) knownOf(function string) map[string]functions.Mark {
	r.forget(function)
	r.mu.Lock()
	defer r.mu.Unlock()
	list := map[string]functions.Mark{}
	if f := r.families[bucketOf(function)][function]; f != nil {
		for _, key := range f.keys(function) {
			list[key] = r.markLocked(key).Mark
		}
	}
	for key, m := range r.heard {
		if functions.BaseName(key) == function && m.After(list[key]) {
			list[key] = m
		}
	}
	return list
}

// behind lists what of known is later than what is here.
func (r *Replica) behind(known map[string]functions.Mark) (list []string) {
	for key, m := range known {
		if m.Count > 0 && m.After(r.markOf(key).Mark) {
			list = append(list, key)
		}
	}
	slices.Sort(list)
	return list
}

// catchUp takes over the last changes of a function, those that somebody has who is here.
func (r *Replica) catchUp(ctx context.Context, function, keeper string, known map[string]functions.Mark) error {
	missing := r.behind(known)
	if len(missing) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	here := r.o.Here()
	from := []string{keeper}
	for _, key := range missing {
		from = append(from, known[key].By)
	}
	tried := map[string]bool{r.o.Member: true, functions.Offline: true}
	var errs []error
	all := true // that are here have said what they have
	for _, member := range append(from, here...) {
		if tried[member] {
			continue
		}
		tried[member] = true
		if err := r.pull(ctx, member, "/v1/function?name="+url.QueryEscape(function)); err != nil {
			errs = append(errs, err)
			all = all && member != keeper && !slices.Contains(here, member)
		}
		if missing = r.behind(known); len(missing) == 0 {
			return nil
		}
	}
	if all && !slices.ContainsFunc(missing, func(key string) bool { return slices.Contains(here, known[key].By) }) {
		// Else nobody could change the function until he is back. If he ever is, one of the two
		// changes is lost, by name.
		r.o.Log.Warn("a change was told of, and who made it is gone before anybody had it", "function", function, "deployments", missing)
		return nil
	}
	return fmt.Errorf("function %q: %w: %w", function, ErrBehind, errors.Join(errs...))
}

// tell tells all that are here of changes, and waits for them to have taken them over. Who
// does not in time does later: see Hear.
func (r *Replica) tell(keys []string) {
	others := r.o.Here()
	if len(keys) == 0 || len(others) == 0 {
		return
	}
	slices.SortFunc(keys, versionsFirst)
	var list []*functions.Change
	for _, key := range keys {
		if c, err := r.store.State(key); err != nil {
			r.o.Log.Error("a deployment that has changed cannot be told to the other members", "deployment", key, "error", err)
		} else if c != nil {
			list = append(list, c)
		}
	}
	body, err := json.Marshal(list)
	if err != nil {
		r.o.Log.Error("changes cannot be told to the other members", "error", err)
		return
	}
	ctx, cancel := context.WithTimeout(r.end, tellTimeout)
	defer cancel()
	var telling = make(chan struct{}, tellers)
	var all sync.WaitGroup
	for _, member := range others {
		telling <- struct{}{}
		all.Go(func() {
			defer func() { <-telling }()
			answer, err := r.o.Peers.Do(ctx, member, http.MethodPost, "/v1/changes", nil, bytes.NewReader(body))
			if err != nil {
				r.o.Log.Warn("a member does not have a change yet", "member", member, "deployments", keys, "error", err)
				return
			}
			answer.Body.Close()
		})
	}
	all.Wait()
}

// serveChanges takes over what a member tells. What it takes over it takes over even if the
// member does not wait for that.
func (r *Replica) serveChanges(w http.ResponseWriter, q *http.Request, member string) error {
	b, err := io.ReadAll(http.MaxBytesReader(w, q.Body, maxChanges))
	if err != nil {
		return err
	}
	var list []functions.Change
	if err := json.Unmarshal(b, &list); err != nil {
		return fmt.Errorf("changes: %w: %w", err, lineage.ErrInvalid)
	}
	r.mu.Lock()
	for i := range list {
		c := &list[i]
		if m := c.Mark(); c.Check() == nil && m.After(r.markLocked(c.Key).Mark) && m.After(r.heard[c.Key]) {
			r.heard[c.Key] = m
		}
	}
	r.mu.Unlock()
	ctx, cancel := context.WithTimeout(r.end, fetchTimeout)
	defer cancel()
	var errs []error
	for i := range list {
		if err := r.take(ctx, &list[i], member); err != nil {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		r.o.Log.Warn("a change that a member has told of is not taken over yet", "member", member, "error", err)
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
