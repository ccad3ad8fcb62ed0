package api

import (
	"encoding/json"
	"fmt"
	"time"

	"seuss/dispatcher/functions"
	"seuss/lineage"
)

// Update changes settings of a function. What is not set stays as it is; null is what a
// deployment has that says nothing.
type Update struct {
	Network     Change[[]string] `json:"network,omitzero"`
	HostPorts   Change[[]uint32] `json:"host_ports,omitzero"`
	Shares      Change[[]string] `json:"shares,omitzero"`
	Calls       Change[[]string] `json:"calls,omitzero"`
	TimeoutSec  Change[int]      `json:"timeout_s,omitzero"`
	MemoryMiB   Change[int]      `json:"memory_mib,omitzero"`
	OutputBytes Change[int]      `json:"output_bytes,omitzero"`
	Concurrency Change[*int]     `json:"concurrency,omitzero"`
	URL         Change[string]   `json:"url,omitzero"`       // who its URL lets in: functions.AuthNone or AuthIAM; "": it has none
	Revision    string           `json:"revision,omitempty"` // if not empty: it must be the function's
}

// Change is a field's new value, where it gets one.
type Change[T any] struct {
	Set bool
	To  T
}

// To makes a change.
func To[T any](v T) Change[T] { return Change[T]{true, v} }

// UnmarshalJSON implements json.Unmarshaler: a field that is there is set.
func (c *Change[T]) UnmarshalJSON(b []byte) error {
	c.Set = true
	return json.Unmarshal(b, &c.To)
}

// MarshalJSON implements json.Marshaler.
func (c Change[T]) MarshalJSON() ([]byte, error) { return json.Marshal(c.To) }

func (c *Change[T]) apply(to *T) {
	if c.Set {
		*to = c.To
	}
}

// check refuses what no daemon would take; the rest is package bounds'.
func (u *Update) check(name string) error {
	if functions.BaseName(name) != name {
		return fmt.Errorf("update %q: a published version does not change; update the function and publish another one: %w", name, lineage.ErrInvalid)
	}
	if auth := u.URL.To; auth != "" && auth != functions.AuthNone && auth != functions.AuthIAM {
		return fmt.Errorf("update %q: a URL's auth is %s or %s, not %q: %w", name, functions.AuthNone, functions.AuthIAM, auth, lineage.ErrInvalid)
	}
	return nil
}

// attach makes the change of the URL.
func (u *Update) attach(a *functions.Attached) error {
	now := time.Now().UTC().Round(0)
	switch {
	case u.URL.To == "":
		a.URL = nil
	case a.URL == nil:
		a.URL = &functions.URL{ID: functions.NewURLID(), Auth: u.URL.To, Created: now, Changed: now}
	default:
		changed := *a.URL
		changed.Auth, changed.Changed = u.URL.To, now
		a.URL = &changed
	}
	return nil
}

// Apply makes the changes.
func (u *Update) Apply(s *functions.Settings) {
	u.Network.apply(&s.Network)
	u.HostPorts.apply(&s.HostPorts)
	u.Shares.apply(&s.Shares)
	u.Calls.apply(&s.Calls)
	u.TimeoutSec.apply(&s.TimeoutSec)
	u.MemoryMiB.apply(&s.MemoryMiB)
	u.OutputBytes.apply(&s.OutputBytes)
	u.Concurrency.apply(&s.Concurrency)
}
