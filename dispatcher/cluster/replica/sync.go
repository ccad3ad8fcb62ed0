package replica

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"seuss/dispatcher/functions"
	"seuss/lineage"
)

func (r *Replica) routes() {
	p := r.o.Peers
	p.Handle("POST /v1/lock", r.serveLock)
	p.Handle("POST /v1/changes", r.serveChanges)
	p.Handle("GET /v1/sums", r.serveSums)
	p.Handle("GET /v1/bucket/{n}", r.serveBucket)
	p.Handle("GET /v1/function", r.serveFunction)
	p.Handle("GET /v1/code/{digest}", r.serveCode)
}

// versionsFirst orders the deployments of a function: aliases name versions.
func versionsFirst(a, b string) int {
	return cmp.Or(strings.Compare(functions.BaseName(a), functions.BaseName(b)), cmp.Compare(functions.VersionNumber(b), functions.VersionNumber(a)))
}

func (r *Replica) serveSums(w http.ResponseWriter, _ *http.Request, _ string) error {
	r.mu.Lock()
	list := make([]string, buckets)
	for i, s := range r.sums {
		list[i] = strconv.FormatUint(s, 16)
	}
	r.mu.Unlock()
	return json.NewEncoder(w).Encode(list)
}

func (r *Replica) serveBucket(w http.ResponseWriter, q *http.Request, _ string) error {
	n, err := strconv.ParseUint(q.PathValue("n"), 10, 16)
	if err != nil || n >= buckets {
		return fmt.Errorf("bucket %.20q is not 0 to %d: %w", q.PathValue("n"), buckets-1, lineage.ErrInvalid)
	}
	var keys []string
	r.mu.Lock()
	for function, f := range r.families[n] {
		keys = append(keys, f.keys(function)...)
	}
	r.mu.Unlock()
	slices.SortFunc(keys, versionsFirst)
	r.write(w, keys)
	return nil
}

func (r *Replica) serveFunction(w http.ResponseWriter, q *http.Request, _ string) error {
	name := q.URL.Query().Get("name")
	if !functions.ValidFunction(name) {
		return fmt.Errorf("%.100q is no function: %w", name, lineage.ErrInvalid)
	}
	var keys []string
	r.mu.Lock()
	if f := r.families[bucketOf(name)][name]; f != nil {
		keys = f.keys(name)
	}
	r.mu.Unlock()
	r.write(w, keys)
	return nil
}

// write writes states, one a line. One that cannot be read is left out: another member may
// have it. So is a removal that is forgotten by now.
func (r *Replica) write(w io.Writer, keys []string) {
	e := json.NewEncoder(w)
	for _, key := range keys {
		c, err := r.store.State(key)
		if err != nil || c == nil || c.Stamp.Count == 0 || c.Record == nil && r.store.Forget(key) {
			continue
		}
		if e.Encode(c) != nil {
			return // it has gone
		}
	}
}

func (r *Replica) serveCode(w http.ResponseWriter, q *http.Request, _ string) error {
	owner := q.URL.Query().Get("owner")
	if !functions.ValidName(owner) {
		return fmt.Errorf("%.100q is no owner: %w", owner, lineage.ErrInvalid)
	}
	select {
	case r.codes <- struct{}{}:
		defer func() { <-r.codes }()
	case <-q.Context().Done():
		return q.Context().Err()
	}
	code, err := r.store.CodeOf(owner, q.PathValue("digest"))
	if err != nil {
		return err
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(fetchTimeout)) // who does not read keeps nobody else waiting for long
	_, _ = w.Write(code)                                                             // who has gone does not get it
	return nil
}

// list gets a list of states from a member, and returns those that are later than what is here.
func (r *Replica) list(ctx context.Context, member, path string) (later []*functions.Change, err error) {
	answer, err := r.o.Peers.Do(ctx, member, http.MethodGet, path, nil, nil)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	d := json.NewDecoder(io.LimitReader(answer.Body, maxBucket))
	for {
		c := new(functions.Change)
		err := d.Decode(c)
		if errors.Is(err, io.EOF) {
			return later, nil
		}
		if err == nil {
			err = c.Check()
		}
		if err != nil {
			return nil, fmt.Errorf("member %q: what it has deployed: %w", member, err)
		}
		if c.Mark().After(r.markOf(c.Key).Mark) {
			later = append(later, c)
		}
	}
}

// pull takes over what a member has that is later.
func (r *Replica) pull(ctx context.Context, member, path string) error {
	later, err := r.list(ctx, member, path)
	if err != nil {
		return err
	}
	return r.takeAll(ctx, later, member)
}

// takeAll takes over states, those of one function one after the other.
func (r *Replica) takeAll(ctx context.Context, list []*functions.Change, from string) error {
	slices.SortStableFunc(list, func(a, b *functions.Change) int { return versionsFirst(a.Key, b.Key) })
	failed := make([]error, len(list)) // by place in the list
	at := 0
	var all sync.WaitGroup
	turns := make(chan struct{}, takers)
	for len(list) > 0 && ctx.Err() == nil {
		n := 1
		for n < len(list) && functions.BaseName(list[n].Key) == functions.BaseName(list[0].Key) {
			n++
		}
		function, errs := list[:n], failed[at:at+n]
		list, at = list[n:], at+n
		turns <- struct{}{}
		all.Go(func() {
			defer func() { <-turns }()
			for i, c := range function {
				errs[i] = r.take(ctx, c, from)
			}
		})
	}
	all.Wait()
	errs := slices.DeleteFunc(failed, func(err error) bool { return err == nil })
	if ctx.Err() != nil {
		errs = append(errs, context.Cause(ctx))
	}
	if len(errs) > maxErrors {
		errs = append(errs[:maxErrors], fmt.Errorf("and %d more", len(errs)-maxErrors))
	}
	return errors.Join(errs...)
}

// maxErrors bounds those that are told of one exchange.
const maxErrors = 5

// differing returns the buckets in which a member has something else.
func (r *Replica) differing(ctx context.Context, member string) (list []int, err error) {
	b, err := r.fetch(ctx, member, "/v1/sums", buckets*64)
	if err != nil {
		return nil, err
	}
	var theirs []string
	if err := json.Unmarshal(b, &theirs); err != nil || len(theirs) != buckets {
		return nil, fmt.Errorf("member %q: its digests are no list of %d: %w", member, buckets, lineage.ErrInvalid)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, s := range r.sums {
		if strconv.FormatUint(s, 16) != theirs[i] {
			list = append(list, i)
		}
	}
	return list, nil
}

// Hear notes the digest that a member has told. Where it differs from this member's for long
// enough that no change is under way, what is missing here is asked for.
func (r *Replica) Hear(member, sum string) {
	if sum == "" || member == r.o.Member {
		return
	}
	own, now := r.Sum(), time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if sum == own {
		delete(r.differ, member)
		return
	}
	d := r.differ[member]
	if d.sum != sum {
		d = difference{sum: sum, since: now}
	}
	if due := now.Sub(d.since) >= settle && now.Sub(d.asked) >= again; due && !r.syncing && r.end.Err() == nil {
		d.asked, r.syncing = now, true
		r.work.Go(func() { r.exchange(member) })
	}
	r.differ[member] = d
}

// exchange takes over what a member has that is later.
func (r *Replica) exchange(member string) {
	defer func() {
		r.mu.Lock()
		r.syncing = false
		r.mu.Unlock()
	}()
	ctx, cancel := context.WithTimeout(r.end, listTimeout)
	defer cancel()
	list, err := r.differing(ctx, member)
	for _, n := range list {
		if errPull := r.pull(ctx, member, fmt.Sprintf("/v1/bucket/%d", n)); errPull != nil {
			err = errors.Join(err, errPull)
		}
		if ctx.Err() != nil {
			break
		}
	}
	if err != nil && r.end.Err() == nil {
		r.o.Log.Warn("this member does not have all that another one has deployed", "member", member, "error", err)
	}
}

// Join has what is deployed here be the cluster's. Deployments of this daemon's own, which were
// made in no cluster, become the cluster's; where that has them otherwise the error matches
// ErrConflict and names them, and nothing has changed. ctx bounds it.
func (r *Replica) Join(ctx context.Context) error {
	own := r.unstamped()
	others := r.o.Here()
	var later []*functions.Change
	var from string
	var errs []error
	for _, member := range others {
		list, err := r.everything(ctx, member)
		if err == nil {
			later, from = list, member
			break
		}
		errs = append(errs, err)
	}
	if from == "" && len(others) > 0 {
		return fmt.Errorf("what the cluster has deployed cannot be had: %w", errors.Join(errs...))
	}
	var conflicts []string
	stamps := map[string]functions.Stamp{}
	take := later[:0]
	for _, c := range later {
		here, mine := own[c.Key]
		switch {
		case !mine:
			take = append(take, c)
		case c.Record == nil: // it was removed there before it came from here
			stamps[c.Key] = c.Stamp
		case !here.Same(c):
			conflicts = append(conflicts, c.Key)
		default:
			take = append(take, c)
			delete(own, c.Key)
		}
	}
	if n := len(conflicts); n > 0 {
		slices.Sort(conflicts)
		return fmt.Errorf("%q: %w: remove them on one side (seussctl function rm) before this daemon becomes a member", conflicts, ErrConflict)
	}
	if err := r.takeAll(ctx, take, from); err != nil {
		r.o.Log.Warn("this member does not have all yet that the cluster has deployed", "error", err)
	}
	for key := range own {
		if err := r.store.Stamp(key, stamps[key]); err != nil {
			return err
		}
	}
	return nil
}

// unstamped returns the deployments that no cluster has.
func (r *Replica) unstamped() map[string]*functions.Change {
	own := map[string]*functions.Change{}
	var keys []string
	r.mu.Lock()
	for _, bucket := range r.families {
		for function, f := range bucket {
			for _, key := range f.keys(function) {
				if r.markLocked(key).Count == 0 {
					keys = append(keys, key)
				}
			}
		}
	}
	r.mu.Unlock()
	for _, key := range keys {
		if c, err := r.store.State(key); err == nil && c != nil {
			own[key] = c
		}
	}
	return own
}

// everything lists what a member has that is later.
func (r *Replica) everything(ctx context.Context, member string) (later []*functions.Change, err error) {
	differing, err := r.differing(ctx, member)
	for _, n := range differing {
		list, err := r.list(ctx, member, fmt.Sprintf("/v1/bucket/%d", n))
		if err != nil {
			return nil, err
		}
		later = append(later, list...)
	}
	return later, err
}
