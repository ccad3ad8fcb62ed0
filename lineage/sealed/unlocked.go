package sealed

import "time"

// Unlocked writes in a directory where several processes may write at a time, with
// nothing that excludes one of them: its temporary names are its own, and swept only
// when they are so old that nobody can be writing them still.
type Unlocked struct {
	FS
	prefix string
	stale  time.Duration
}

// NewUnlocked gives temporary files names that begin with prefix; prefix is no
// beginning of TempPrefix, nor the other way round. One is stale after such a time.
func NewUnlocked(prefix string, stale time.Duration) *Unlocked {
	return &Unlocked{FS: osWith(prefix), prefix: prefix, stale: stale}
}

// Sweep removes what interrupted writes left in dir.
func (u *Unlocked) Sweep(dir string) error { return sweep(dir, u.prefix, u.stale) }
