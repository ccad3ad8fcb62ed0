package instance

import (
	"sync/atomic"
	"time"
)

// Mean is an exponential mean of durations, of the last eight above all. The zero
// value has none. It may be used by all goroutines at once.
type Mean struct{ ps atomic.Int64 } // picoseconds

// Add takes a sample.
func (m *Mean) Add(d time.Duration) { m.AddPicoseconds(int64(d) * 1000) }

// AddPicoseconds takes a sample that is too short for a Duration.
func (m *Mean) AddPicoseconds(sample int64) {
	old := m.ps.Load()
	if old != 0 {
		sample = old + (sample-old)/8
	}
	m.ps.Store(max(sample, 1)) // a sample that is lost to a race is no harm
}

// Known reports whether there was a sample.
func (m *Mean) Known() bool { return m.ps.Load() != 0 }

// Get returns the mean, 0 if there was no sample.
func (m *Mean) Get() time.Duration { return time.Duration(m.ps.Load() / 1000) }
