package dispatcher

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"seuss/dispatcher/instance"
	"seuss/lineage"
)

// wholeEvent is the key of a binding to the event as a whole; JSON keys of
// events that are also called so are never bound by themselves.
const wholeEvent = "*"

// event is an invocation's event, its keys parsed only if they are needed.
type event struct {
	raw   []byte
	keys  map[string]json.RawMessage // nil until parsed
	bound map[string]lineage.Binding // what was asked for by key, computed once
}

// parseEvent checks that raw is a JSON value of allowed size, and parses it as far as a
// function needs it: the event of a lazy one must be an object.
func parseEvent(raw []byte, lazy bool) (event, error) {
	e := event{raw: raw}
	if len(raw) > MaxEventBytes {
		return e, fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrBadEvent, len(raw), MaxEventBytes)
	}
	if len(bytes.TrimSpace(raw)) == 0 {
		return e, fmt.Errorf("%w: it is empty; the smallest event is {}", ErrBadEvent)
	}
	if !json.Valid(raw) {
		var v any
		return e, fmt.Errorf("%w: not JSON: %w", ErrBadEvent, json.Unmarshal(raw, &v))
	}
	if !lazy {
		return e, nil
	}
	var keys map[string]json.RawMessage // not the event's, which would be allocated
	if err := json.Unmarshal(raw, &keys); err != nil || keys == nil {
		return e, fmt.Errorf("%w: a function with lazy arguments takes a JSON object", ErrBadEvent)
	}
	e.keys, e.bound = keys, map[string]lineage.Binding{}
	return e, nil
}

// value returns the value of a key; ok is false if the event has no such key.
func (e *event) value(key string) (v []byte, ok bool) {
	if key == wholeEvent {
		return e.raw, true
	}
	v, ok = e.keys[key]
	return v, ok
}

// binding returns what an argument node records for key. An absent key is
// bound to the digest of no bytes, which no JSON value has.
func (e *event) binding(key string) lineage.Binding {
	if b, known := e.bound[key]; known {
		return b
	}
	v, ok := e.value(key)
	var compact bytes.Buffer
	if ok {
		if json.Compact(&compact, v) != nil { // cannot be: the event was valid
			compact.Write(v)
		}
	}
	sum := sha256.Sum256(compact.Bytes())
	b := lineage.Binding{Key: key, Digest: hex.EncodeToString(sum[:]), Preview: lineage.Preview(compact.Bytes())}
	e.bound[key] = b
	return b
}

// fits reports whether the event has the values that a node was bound to, or
// says which binding differs.
func (e *event) fits(args []lineage.Binding) (ok bool, differs string) {
	for _, b := range args {
		if e.binding(b.Key).Digest != b.Digest {
			return false, b.Key
		}
	}
	return true, ""
}

// PathOf is the start path that a node of kind gives.
func PathOf(kind lineage.Kind) StartPath {
	switch kind {
	case lineage.KindArgument:
		return PathArgument
	case lineage.KindFunction:
		return PathFunction
	case lineage.KindBase, lineage.KindImport:
		return PathBase
	}
	return PathCold
}

var pathRank = map[StartPath]int{PathCold: 0, PathBase: 1, PathFunction: 2, PathArgument: 3}

// match picks the node of the function's lineage that fits the event and is
// predicted to cost the least. A function's own node is always better than what
// lies above it; among argument nodes a deeper one may hold more pages than its
// saved time is worth.
func (c *costs) match(f *function, e *event, maxPath StartPath) *instance.Snapshot {
	limit := pathRank[PathArgument]
	if maxPath != "" {
		limit = pathRank[maxPath]
	}
	var best *instance.Snapshot
	for _, t := range f.ancestors {
		if pathRank[PathOf(t.Node.Info.Kind)] <= limit {
			best = t
		}
	}
	if f.node == nil || limit < pathRank[PathFunction] {
		return best
	}
	best = f.node
	if limit < pathRank[PathArgument] {
		return best
	}
	for _, t := range f.arguments {
		if ok, _ := e.fits(t.Node.Info.Key.Args); !ok {
			continue
		}
		if t.Depth > best.Depth && c.better(f, t, best) || t.Depth < best.Depth && !c.better(f, best, t) {
			best = t
		}
	}
	return best
}

// candidates lists every node that the function could start from, and why each
// was or was not taken.
func (c *costs) candidates(f *function, e *event, chosen *instance.Snapshot, maxPath StartPath) []Candidate {
	var list []Candidate
	add := func(t *instance.Snapshot, reason string) {
		info := &t.Node.Info
		list = append(list, Candidate{
			NodeID: info.ID, Kind: info.Kind, Key: describeKey(info), Depth: t.Depth, Chosen: t == chosen, Reason: reason,
			Prediction: c.predict(f, t),
		})
	}
	deepest := !slices.ContainsFunc(f.arguments, func(t *instance.Snapshot) bool {
		ok, _ := e.fits(t.Node.Info.Key.Args)
		return ok && t.Depth > chosen.Depth && maxPath == ""
	})
	reason := func(t *instance.Snapshot) string {
		if t == chosen && deepest {
			return "deepest node that fits"
		} else if t == chosen {
			return "the node that fits and is predicted to cost the least"
		}
		if maxPath != "" && pathRank[PathOf(t.Node.Info.Kind)] > pathRank[maxPath] {
			return fmt.Sprintf("the request allows no deeper start than %s", maxPath)
		}
		if t.Node.Info.Kind == lineage.KindArgument {
			if ok, key := e.fits(t.Node.Info.Key.Args); !ok {
				return fmt.Sprintf("argument %q differs: it was taken with %s", key, previewOf(t.Node.Info.Key.Args, key))
			}
		}
		if t.Depth > chosen.Depth {
			return fmt.Sprintf("node %.12s is predicted to cost less", chosen.Node.Info.ID)
		}
		return fmt.Sprintf("node %.12s is deeper", chosen.Node.Info.ID)
	}
	for _, t := range f.ancestors {
		add(t, reason(t))
	}
	if f.node != nil {
		add(f.node, reason(f.node))
	}
	for _, t := range f.arguments {
		why := reason(t)
		if p := t.Node.Info.Purity; !p.Pure() {
			why += "; impure: " + strings.Join(p.Reasons, ", ")
		}
		add(t, why)
	}
	return list
}

func previewOf(args []lineage.Binding, key string) string {
	for _, b := range args {
		if b.Key == key {
			if b.Preview == "" {
				return "the key absent"
			}
			return b.Preview
		}
	}
	return "nothing"
}

// describeKey is a node's key for people.
func describeKey(info *lineage.Info) string {
	k := &info.Key
	switch info.Kind {
	case lineage.KindImport:
		return strings.Join(k.Imports, ",")
	case lineage.KindFunction:
		if k.Contract != "" {
			return k.Function + " over " + k.Contract
		}
		return k.Function
	case lineage.KindArgument:
		var b strings.Builder
		b.WriteString(k.Function)
		b.WriteByte('(')
		for i, a := range k.Args {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(a.Key)
			b.WriteByte('=')
			b.WriteString(previewOf(k.Args, a.Key))
		}
		b.WriteByte(')')
		return b.String()
	}
	return fmt.Sprintf("%.12s", info.ImageDigest)
}

// Explain lists the candidates for an invocation without carrying it out.
func (d *Dispatcher) Explain(name string, raw []byte) ([]Candidate, error) {
	spec, err := d.Lookup(name)
	if err != nil {
		return nil, err
	}
	f, err := d.cache.get(spec)
	if err != nil {
		return nil, err
	}
	e, err := parseEvent(raw, spec.Lazy)
	if err != nil {
		return nil, err
	}
	t := d.costs.match(f, &e, "")
	if t == nil {
		return []Candidate{}, nil // its nodes are gone; an invocation makes them again
	}
	list := d.costs.candidates(f, &e, t, "")
	explainStart(d.Planner, spec.Name, list)
	return list, nil
}
