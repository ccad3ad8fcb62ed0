package state

// counts are what has happened in an owner's state.
type counts struct {
	Reads     uint64 `json:"reads"`
	Writes    uint64 `json:"writes"`
	Locks     uint64 `json:"locks"`     // that were granted
	Expired   uint64 `json:"expired"`   // whose lease ended while they were held
	Deadlocks uint64 `json:"deadlocks"` // that were refused
	Pushes    uint64 `json:"pushes"`
	Pulls     uint64 `json:"pulls"`
	Pushed    uint64 `json:"pushed_bytes"` // chunks that the global tier had not
	Pulled    uint64 `json:"pulled_bytes"` // chunks that were fetched from there
}

// Stats are an owner's state in figures.
type Stats struct {
	Keys     int   `json:"keys"`
	Bytes    int64 `json:"bytes"` // that values take of memory
	Limit    int64 `json:"limit_bytes"`
	All      int64 `json:"all_bytes,omitempty"` // the same of all owners
	Most     int64 `json:"all_limit_bytes,omitempty"`
	Held     int   `json:"locks_held"`
	Waiting  int   `json:"waiting"` // for locks and changes
	Sessions int   `json:"sessions"`
	counts
}

// Stats returns an owner's figures.
func (s *Store) Stats(owner string) Stats {
	t, err := s.tenant(owner)
	if err != nil {
		return Stats{}
	}
	own, all := s.budget.used(owner)
	st := Stats{Bytes: own, Limit: s.budget.of(owner), All: all, Most: s.budget.all}
	t.mu.Lock()
	defer t.mu.Unlock()
	st.Keys, st.Waiting, st.Sessions, st.counts = t.values.Len(), t.waits, len(t.sessions), t.stats
	for _, l := range t.locks {
		st.Held += len(l.holders)
	}
	return st
}
