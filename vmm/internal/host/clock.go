package host

import (
	"fmt"
	"math/bits"
	"time"

	"golang.org/x/sys/unix"

	"seuss/vmm/internal/x86"
)

const (
	// clockSpan is how long the TSC is compared with the host's raw clock.
	// Reading both takes well under a microsecond, so the error stays below
	// clockTolerance.
	clockSpan = 2 * time.Millisecond
	// longClockSpan is used where the two disagree, to learn the frequency.
	longClockSpan = 50 * time.Millisecond
	// clockTolerance is the relative error, 1/n, beyond which the reported frequency
	// is not believed.
	clockTolerance = 500
)

// Clocks is one reading of TSC and CLOCK_MONOTONIC_RAW.
type Clocks struct {
	tsc uint64
	raw int64 // ns
}

// ReadClocks reads the pair several times and keeps the reading in which the
// clock call took the least time, so that an interruption does not skew it.
func ReadClocks() (Clocks, error) {
	var best Clocks
	width := ^uint64(0)
	for range 5 {
		var ts unix.Timespec
		before := x86.TSC()
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC_RAW, &ts); err != nil {
			return best, fmt.Errorf("read CLOCK_MONOTONIC_RAW: %w", err)
		}
		after := x86.TSC()
		if after-before < width {
			width = after - before
			best = Clocks{tsc: before + width/2, raw: ts.Nano()}
		}
	}
	return best, nil
}

// khzBetween is the TSC frequency that two readings show.
func khzBetween(a, b Clocks) uint64 {
	if b.raw <= a.raw || b.tsc <= a.tsc {
		return 0
	}
	// kHz = ticks per millisecond; 128 bits, since ticks * 10^6 may not fit.
	hi, lo := bits.Mul64(b.tsc-a.tsc, 1e6)
	if hi >= uint64(b.raw-a.raw) {
		return 0
	}
	khz, _ := bits.Div64(hi, lo, uint64(b.raw-a.raw))
	return khz
}

// ClockCheck is the outcome of comparing what is reported as the TSC frequency with
// the host's raw clock.
type ClockCheck struct {
	KHz                uint64 // to be used
	reported, measured uint64
}

func (c ClockCheck) String() string {
	if c.KHz != c.reported {
		return fmt.Sprintf("%d kHz, measured; reported are %d kHz", c.KHz, c.reported)
	}
	return fmt.Sprintf("%d kHz, measured %d kHz", c.KHz, c.measured)
}

// CheckClock measures from start on and decides for the reported frequency, which is
// exact, if the measurement agrees, else (and where 0 is reported) for a longer
// measurement.
func CheckClock(start Clocks, started time.Time, reported uint64) (ClockCheck, error) {
	measure := func(span time.Duration) (uint64, error) {
		time.Sleep(span - min(span, time.Since(started)))
		end, err := ReadClocks()
		if err != nil {
			return 0, err
		}
		return khzBetween(start, end), nil
	}
	agree := func(measured uint64) bool {
		return max(measured, reported)-min(measured, reported) <= reported/clockTolerance
	}
	c := ClockCheck{KHz: reported, reported: reported}
	var err error
	if c.measured, err = measure(clockSpan); err != nil || reported != 0 && agree(c.measured) {
		return c, err
	}
	if c.measured, err = measure(longClockSpan); err != nil {
		return c, err
	}
	if c.measured == 0 {
		return c, fmt.Errorf("the time-stamp counter does not advance with CLOCK_MONOTONIC_RAW; reported are %d kHz", reported)
	}
	if reported == 0 || !agree(c.measured) {
		c.KHz = c.measured
	}
	return c, nil
}
