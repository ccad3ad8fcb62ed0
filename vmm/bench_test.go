package vmm_test

import (
	"testing"
	"time"

	"seuss/vmm"
)

// BenchmarkIdleRoundTrip is one entry and one idle doorbell through the whole
// run loop. It prints its ratio to the vCPU's bare exit.
func BenchmarkIdleRoundTrip(b *testing.B) {
	m := newBench(b)
	vcpu := m.VM().VCPU()
	const bare = 200
	start := time.Now()
	for range bare {
		if _, err := vcpu.Run(); err != nil {
			b.Fatal(err)
		}
	}
	exit := time.Since(start) / bare
	for b.Loop() {
		if stop, err := m.Run(vmm.RunOptions{}); err != nil || stop.Kind != vmm.StopIdle {
			b.Fatal(stop, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed())/float64(b.N)/float64(exit), "x-bare-exit")
}

// BenchmarkRestore measures what a pooled machine costs between and before
// requests, memory aside, as ratios to one idle round trip.
func BenchmarkRestore(b *testing.B) {
	m := newBench(b)
	m.check(m.command(cmdRegisters), vmm.StopIdle)
	s := m.state()
	start := time.Now()
	const trips = 200
	for range trips {
		if _, err := m.VM().VCPU().Run(); err != nil {
			b.Fatal(err)
		}
	}
	trip := time.Since(start) / trips
	for name, step := range map[string]func() error{
		"restore":  func() error { return m.Restore(s) },
		"identity": func() error { return m.WriteIdentity(vmm.Identity{}) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := step(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed())/float64(b.N)/float64(trip), "x-idle-trip")
		})
	}
}
