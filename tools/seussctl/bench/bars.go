package bench

import (
	"fmt"
	"math"
)

// Bar is a limit that a measurement should keep.
type Bar struct {
	Name            string
	Measured, Limit float64
	bytes           bool
	least           bool // Limit is what is asked for at least
}

// Met reports whether the limit was kept.
func (b Bar) Met() bool {
	if b.least {
		return b.Measured >= b.Limit
	}
	return b.Measured <= b.Limit
}

// Bound is the limit with its direction.
func (b Bar) Bound() string {
	if b.least {
		return "≥ " + b.Format(b.Limit)
	}
	return "≤ " + b.Format(b.Limit)
}

// Format writes a value in the bar's unit: KiB, or a ratio.
func (b Bar) Format(v float64) string {
	if b.bytes {
		return fmt.Sprintf("%.0f KiB", v/1024)
	}
	return fmt.Sprintf("%.3f", v)
}

// The limits, from SPECIFICATION.md.
const (
	pooledLimit     = 0.1   // pooled p50 to the zygote's p50
	processLimit    = 0.125 // the same where guests are processes
	pooledTailLimit = 1     // pooled p99 to the zygote's p50
	switchLimit     = 0.25  // switch p50 to the zygote's p50
	depthLimit      = 0.15  // deviation of a depth's p50 from the first one's
	nodeLimit       = 600 << 10
)

// Bars compares a report with the limits. What was not measured is left out.
func Bars(r *Report) []Bar {
	var bars []Bar
	zygote, ok := r.Row("zygote")
	if ok && zygote.P50 > 0 {
		if pooled, ok := r.Row("pooled"); ok {
			limit := pooledLimit
			if r.Platform == "process" {
				limit = processLimit
			}
			bars = append(bars,
				Bar{Name: "pooled p50 / zygote p50", Measured: pooled.P50 / zygote.P50, Limit: limit},
				Bar{Name: "pooled p99 / zygote p50", Measured: pooled.P99 / zygote.P50, Limit: pooledTailLimit})
		}
		if s, ok := r.Row("switch"); ok {
			bars = append(bars, Bar{Name: "switch p50 / zygote p50", Measured: s.P50 / zygote.P50, Limit: switchLimit})
		}
	}
	if len(r.Depth) > 1 && r.Depth[0].P50 > 0 {
		worst := 0.0
		for _, d := range r.Depth[1:] {
			worst = max(worst, math.Abs(d.P50/r.Depth[0].P50-1))
		}
		bars = append(bars, Bar{Name: fmt.Sprintf("restore p50, deviation from depth %d", r.Depth[0].Depth), Measured: worst, Limit: depthLimit})
	}
	if r.FunctionNodeBytes > 0 {
		bars = append(bars, Bar{Name: "function node", Measured: float64(r.FunctionNodeBytes), Limit: nodeLimit, bytes: true})
	}
	return bars
}
