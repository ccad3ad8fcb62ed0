package server

import (
	"github.com/prometheus/client_golang/prometheus"

	"seuss/dispatcher"
)

var (
	parkedNow   = describe("seuss_parked_instances", "Instances that wait without a machine.")
	parkedBytes = describe("seuss_parked_bytes", "Memory that they take.")
	parkedWhole = describe("seuss_parked_whole", "Those of whom the differences are not packed yet.")
	restingNow  = describe("seuss_resting_instances", "Instances that wait on their machines, because nobody wants these or there is no room.")
	parks       = describe("seuss_parks_total", "Times that an instance has left its machine.")
	parkSeconds = describe("seuss_parks_seconds_total", "Time that parking instances and bringing them back has taken.", "way")
	parkedLate  = describe("seuss_parked_late_total", "Timers of parked instances that were missed by 10 ms or more.")
	lateSeconds = describe("seuss_parked_late_seconds_total", "By how much, in all.")
	parkRefused = describe("seuss_parks_refused_total", "Times that an instance has kept its machine, which somebody wanted, because there was no room.")
)

// collectParked collects what there is to know of parked instances.
func (c *stateCollector) collectParked(st *dispatcher.Stats, gauge func(*prometheus.Desc, float64, ...string), count func(*prometheus.Desc, uint64, ...string)) {
	p := &st.Parked
	gauge(parkedNow, float64(p.Instances))
	gauge(parkedBytes, float64(p.Bytes))
	gauge(parkedWhole, float64(p.Whole))
	gauge(restingNow, float64(p.Resting))
	count(parks, p.Parks)
	gauge(parkSeconds, st.ParkTime.Seconds(), "out")
	gauge(parkSeconds, st.ResumeTime.Seconds(), "back")
	count(parkedLate, p.Late)
	gauge(lateSeconds, p.LateTime.Seconds())
	count(parkRefused, p.Refused)
}
