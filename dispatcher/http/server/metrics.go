package server

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"seuss/dispatcher"
	"seuss/dispatcher/admission"
	"seuss/dispatcher/sched"
	"seuss/dispatcher/tiers"
)

// Metrics are counted as invocations end; what has a state (pools, lineage,
// queue) is asked for when somebody reads.
type Metrics struct {
	registry *prometheus.Registry
	latency  *prometheus.HistogramVec
	waited   prometheus.Histogram
	phases   *prometheus.HistogramVec
	pages    *prometheus.CounterVec
	outcomes *prometheus.CounterVec
	contract *prometheus.CounterVec

	functions functionCounts
}

// The pages that runs dirtied are counted by the dispatcher, after the result.
const (
	pagesName = "seuss_pages_total"
	pagesHelp = "Guest pages that deployments copied and mapped, and that runs left private."
)

// latencyBuckets go from a pooled start to a slow function, in seconds.
var latencyBuckets = []float64{50e-6, 100e-6, 200e-6, 500e-6, 1e-3, 2e-3, 5e-3, 10e-3, 20e-3, 50e-3, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60}

// NewMetrics makes metrics that have counted nothing.
func NewMetrics() *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "seuss_invocation_seconds", Buckets: latencyBuckets,
			Help: "Time from a machine being asked for to the result, by start path."}, []string{"path", "pooled"}),
		waited: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "seuss_queue_seconds", Buckets: latencyBuckets,
			Help: "Time that invocations waited for their turn."}),
		phases: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "seuss_phase_seconds", Buckets: latencyBuckets,
			Help: "Time of an invocation's phases."}, []string{"phase"}),
		pages:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: pagesName, Help: pagesHelp}, []string{"what"}),
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "seuss_invocations_total", Help: "Invocations by how they ended."}, []string{"outcome"}),
		contract: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "seuss_contract_invocations_total", Help: "The same that have a result, by the contract over which the function was asked."}, []string{"contract", "outcome"}),
	}
	m.registry.MustRegister(m.latency, m.waited, m.phases, m.pages, m.outcomes, m.contract,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Invoked implements admission.Metrics.
func (m *Metrics) Invoked(function string, r *dispatcher.Result, waited time.Duration) {
	pooled := "no"
	if r.Pooled {
		pooled = "yes"
	}
	m.latency.WithLabelValues(string(r.Path), pooled).Observe(r.Timings.Total.Seconds())
	m.waited.Observe(waited.Seconds())
	for _, p := range admission.PhasesOf(r) {
		m.phases.WithLabelValues(p.Name).Observe(p.Took.Seconds())
	}
	m.pages.WithLabelValues("copied").Add(float64(r.PagesCopied))
	m.pages.WithLabelValues("mapped").Add(float64(r.PagesMapped))
	outcome := "ok"
	if r.Error != nil {
		switch {
		case r.Crash != "":
			outcome = "crash"
		case r.Error.Type == "Sandbox.Timedout":
			outcome = "timeout"
		case r.Error.Type == "Runtime.OutOfMemory":
			outcome = "out_of_memory"
		default:
			outcome = "function_error"
		}
	}
	m.outcomes.WithLabelValues(outcome).Inc()
	m.contract.WithLabelValues(r.Contract, outcome).Inc()
	m.functions.invoked(function, outcome == "ok", r.Timings.Total)
}

// NotInvoked implements admission.Metrics.
func (m *Metrics) NotInvoked(outcome admission.Outcome) {
	m.outcomes.WithLabelValues(string(outcome)).Inc()
}

// serve is the handler of the metrics of a server, whose state is collected too.
func (m *Metrics) serve(s *Server) http.Handler {
	m.registry.MustRegister(&stateCollector{s}, &m.functions)
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// stateCollector reads what has a state.
type stateCollector struct{ s *Server }

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

var (
	platformInfo  = describe("seuss_platform_info", "1, with the platform that runs the machines.", "platform")
	poolMachines  = describe("seuss_pool_machines", "Machines of a pool by state.", "image", "state")
	poolBytes     = describe("seuss_pool_private_bytes", "Estimated private memory of a pool's machines.", "image")
	poolResident  = describe("seuss_pool_free_resident_bytes", "Memory that a pool's free machines had of their own when they were last put back.", "image", "of")
	pagesOfRuns   = describe(pagesName, pagesHelp, "what")
	hostFaults    = describe("seuss_host_faults_total", "Host page faults while functions ran.")
	pagesRestored = describe("seuss_restored_pages_total", "Pages of machines by what became of them to bring machines to snapshots.", "what")
	mapCalls      = describe("seuss_map_calls_total", "System calls that have changed how machines' memory is mapped, to bring them to snapshots.")
	pagesPaged    = describe("seuss_pages_prefetched_total", "Pages of loading sets that were read ahead of their use.")
	poolRequests  = describe("seuss_pool_requests_total", "Requests for a machine by what they found.", "image", "found")
	poolMade      = describe("seuss_pool_machines_made_total", "Machines made, on the request path or ahead of demand.", "image", "when")
	poolClosed    = describe("seuss_pool_machines_closed_total", "Machines closed because the demand fell.", "image")
	lineageNodes  = describe("seuss_lineage_nodes", "Snapshots in the store.")
	lineageBytes  = describe("seuss_lineage_bytes", "Stored page bytes by kind of snapshot.", "kind")
	hugePages     = describe("seuss_huge_page_bytes", "Memory that holds copies of images in huge pages.")
	flatPages     = describe("seuss_flat_copy_bytes", "Memory that copies of snapshots' scattered pages take, which machines share, once all of them are read.")
	evictions     = describe("seuss_lineage_evictions_total", "Snapshots removed: by hand, to make room, or because nothing starts from them any more.")
	tierStarts    = describe("seuss_tier_starts_total", "Starts by whether a tier had what they wanted: invocations and handler, code that had to be loaded and imports; layers of images that were opened, and packages.", "tier", "found")
	tierRemoved   = describe("seuss_tier_removed_total", "Snapshots, or layers, of a tier that were removed.", "tier")
	tierBytes     = describe("seuss_tier_bytes", "Stored bytes of a tier's snapshots, or layers.", "tier")
	tierBudget    = describe("seuss_tier_budget_bytes", "To which a tier is brought back, where it has a budget.", "tier")
	captures      = describe("seuss_captures_total", "Snapshots taken.")
	crashes       = describe("seuss_crashes_total", "Guests that died.")
	timeouts      = describe("seuss_timeouts_total", "Invocations that ran out of time.")
	outOfMemory   = describe("seuss_out_of_memory_total", "Instances that outgrew their function's memory.")
	impure        = describe("seuss_purity_refusals_total", "Argument snapshots that were not taken because the state is impure.")
	netAllowed    = describe("seuss_network_connections_total", "Connections of functions to other machines that were allowed.")
	netRefused    = describe("seuss_network_refused_total", "Addresses and names that functions asked for and may not reach.")
	netExhausted  = describe("seuss_network_exhausted_total", "Streams and lookups that were refused, or had to wait, because an instance or all functions together had as many as they may.", "of")
	netQuestions  = describe("seuss_network_questions_total", "Questions of functions to the resolver.")
	queueLength   = describe("seuss_queue_length", "Invocations that wait for their turn.")
	running       = describe("seuss_running", "Invocations that run.")
	queueRefused  = describe("seuss_refused_total", "Invocations refused by reason.", "reason")
	logEntries    = describe("seuss_function_logs_total", "Entries of functions' logs: written, dropped because the queue had no room, and lost because the disk took nothing.", "entries")
	logBytes      = describe("seuss_function_log_bytes", "Bytes of functions' logs on disk.")
	eventsWaiting = describe("seuss_events", "Asynchronous events that are not done.")
)

// Describe implements prometheus.Collector; it leaves the collector unchecked.
func (c *stateCollector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c *stateCollector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	count := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	pools := map[string]dispatcher.PoolStats{}         // an image that was built anew has two
	list, _ := c.s.Service.Pools(context.Background()) // of this process: it always answers
	for _, p := range list {
		sum := pools[p.Image]
		sum.Machines += p.Machines
		sum.Free += p.Free
		sum.Ready += p.Ready
		sum.Standing += p.Standing
		sum.Bytes += p.Bytes
		sum.FreePrivate += p.FreePrivate
		sum.HitsReady += p.HitsReady
		sum.HitsMoved += p.HitsMoved
		sum.HitsMade += p.HitsMade
		sum.HitsVacated += p.HitsVacated
		sum.HitsWaited += p.HitsWaited
		sum.MadeAhead += p.MadeAhead
		sum.ClosedIdle += p.ClosedIdle
		pools[p.Image] = sum
	}
	for image, p := range pools {
		gauge(poolMachines, float64(p.Ready), image, "ready")
		gauge(poolMachines, float64(p.Free-p.Ready), image, "resetting")
		gauge(poolMachines, float64(p.Standing), image, "standing")
		gauge(poolMachines, float64(p.Machines-p.Free-p.Standing), image, "busy")
		gauge(poolBytes, float64(p.Bytes), image)
		gauge(poolResident, float64(p.FreePrivate), image, "private")
		count(poolRequests, p.HitsReady, image, "ready")
		count(poolRequests, p.HitsMoved, image, "moved")
		count(poolRequests, p.HitsMade, image, "made")
		count(poolRequests, p.HitsVacated, image, "vacated")
		count(poolRequests, p.HitsWaited, image, "waited")
		count(poolMade, p.HitsMade, image, "request")
		count(poolMade, p.MadeAhead, image, "ahead")
		count(poolClosed, p.ClosedIdle, image)
	}
	st := c.s.Service.Stats()
	c.collectCluster(gauge)
	gauge(platformInfo, 1, st.Platform)
	gauge(lineageNodes, float64(st.Nodes))
	count(pagesOfRuns, st.PagesDirtied, "dirtied")
	count(hostFaults, st.HostFaults)
	count(pagesRestored, st.PagesCopied, "copied")
	count(pagesRestored, st.PagesCompared, "compared")
	count(pagesRestored, st.PagesMapped, "mapped")
	count(mapCalls, st.MapCalls)
	count(pagesPaged, st.PagesPrefetched)
	for kind, n := range st.BytesByKind {
		gauge(lineageBytes, float64(n), string(kind))
	}
	gauge(hugePages, float64(st.HugePageBytes))
	gauge(flatPages, float64(st.FlatBytes))
	count(evictions, st.NodesRemoved)
	count(captures, st.Captures)
	count(crashes, st.Crashes)
	count(timeouts, st.Timeouts)
	count(outOfMemory, st.OutOfMemory)
	count(impure, st.PurityRefusals)
	count(netAllowed, st.Network.Connections)
	count(netRefused, st.Network.Refused)
	count(netExhausted, st.StreamsRefused, "streams")
	count(netExhausted, st.LookupsRefused, "lookups")
	count(netQuestions, st.Network.Questions)
	c.collectParked(&st, gauge, count)
	for name, tier := range map[string]tiers.Tier{"handler": st.Tiers.Handler, "imports": st.Tiers.Imports, "packages": st.Tiers.Packages} {
		count(tierStarts, tier.Hits, name, "hit")
		count(tierStarts, tier.Misses, name, "miss")
		count(tierRemoved, tier.Removed, name)
		gauge(tierBytes, float64(tier.Bytes), name)
		if tier.Budget > 0 {
			gauge(tierBudget, float64(tier.Budget), name)
		}
	}
	q := c.s.Scheduler.Stats()
	gauge(queueLength, float64(q.Waiting))
	gauge(running, float64(q.Running))
	for _, r := range sched.Reasons {
		count(queueRefused, q.Refused[r], string(r))
	}
	if c.s.Logs != nil {
		l := c.s.Logs.Stats()
		count(logEntries, l.Written, "written")
		count(logEntries, l.Dropped, "dropped")
		count(logEntries, l.Lost, "lost")
		gauge(logBytes, float64(l.Bytes))
	}
	gauge(eventsWaiting, float64(c.s.Events.Len()))
}
