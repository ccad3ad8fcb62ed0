package sched

// Stats are a scheduler's counts.
type Stats struct {
	Slots     int               `json:"slots"`
	Running   int               `json:"running"`
	Waiting   int               `json:"waiting"`
	Paused    int               `json:"paused"`    // that have begun and need no slot now, or wait for one again
	Functions int               `json:"functions"` // that wait or run
	Refused   map[Reason]uint64 `json:"refused"`
	Abandoned uint64            `json:"abandoned"` // the client left the queue
	Draining  bool              `json:"draining"`
}

// Stats returns the counts.
func (s *Scheduler) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Stats{Slots: s.o.Slots, Running: s.running, Waiting: s.waiting, Paused: s.paused, Functions: s.busy, Refused: map[Reason]uint64{}, Abandoned: s.abandoned, Draining: s.draining}
	for r, n := range s.refused {
		st.Refused[r] = n
	}
	return st
}
