package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher/access"
	"seuss/dispatcher/admission"
	"seuss/dispatcher/api"
	"seuss/dispatcher/capacity"
	"seuss/dispatcher/events"
	"seuss/dispatcher/http/elsewhere"
	_ "seuss/dispatcher/http/functionurl" // a front door
	_ "seuss/dispatcher/http/lambda"      // a front door
	"seuss/dispatcher/http/listener"
	_ "seuss/dispatcher/http/native" // a front door
	"seuss/dispatcher/http/server"
	"seuss/dispatcher/logs"
	"seuss/dispatcher/quota"
	"seuss/dispatcher/sched"
	"seuss/images/source"
	"seuss/tools/seussctl/cmdline"
	"seuss/tools/seussctl/confine"
	"seuss/tools/seussctl/snapshotcmd"
)

func serve(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:  "serve",
		Usage: "serve functions over HTTP",
		Description: `
Serves AWS Lambda's API for functions and their invocation, and a native API
(GET /openapi.json describes both) on an address and on Unix sockets. Metrics
for Prometheus are at /metrics.

The other commands use the daemon while it runs on their state directory, through
the Unix socket there: only this user and root may.

At the address clients need a token, which they send as a bearer token; AWS's SDKs
sign with it as their secret access key, and seussctl env prints what they need.
It is made once and kept in the state directory, or comes from a file that
--token-file names or from $` + tokenVariable + `. One of these is needed beyond this machine's
own addresses.

SIGTERM or Ctrl-C ends the service: what waits and runs is finished first, for
at most --drain. A second signal ends it at once.`,
		Examples: []string{
			"seussctl serve",
			"seussctl serve --listen 127.0.0.1:9001 --machines 16 --memory 2GiB",
			"seussctl serve --cluster shop --cluster-secret /etc/seuss/secret --cluster-listen 10.0.0.2:6222 --join 10.0.0.1:6222",
			"seussctl serve --allow-net api.example.com:443 --allow-net '[2001:db8::/32]:*'",
			`eval "$(seussctl env)"; aws lambda invoke --function-name hello /dev/stdout`,
		},
		Flags: serveFlags(),
		Action: func(c *cli.Context, e *cmdline.Env) error {
			err := runService(e, c)
			var usage *cmdline.UsageError
			if log := e.Notes; err != nil && log != nil && !errors.As(err, &usage) {
				log.Error("the service has failed", "error", err)
				return cmdline.ErrReported
			}
			return err
		},
	})
}

func serveFlags() []cli.Flag {
	return append([]cli.Flag{
		snapshotcmd.VerifyFlag(), cmdline.AllowNetFlag(),
		&cli.StringFlag{Name: "listen", Value: "127.0.0.1:9001", Usage: "`ADDRESS` to listen on; port 0 takes any; none: Unix sockets only"},
		&cli.StringFlag{Name: "socket", Usage: "`PATH` of a further Unix socket to listen on"},
		&cli.StringFlag{Name: "token-file", Usage: "`FILE` with the token that clients of the address need (default: one that is made and kept in the state directory)"},
		&cli.BoolFlag{DisableDefaultText: true, Name: "no-token", Usage: "ask for no token: every program of this machine, whoever runs it, may use the address"},
		&cli.IntFlag{Name: "machines", Value: capacity.MachinesPerCPU * runtime.NumCPU(), Usage: "at most `N` machines for each image"},
		&cli.IntFlag{Name: "spare", Value: 1, Usage: "keep `N` machines of each image in any case"},
		&cli.StringFlag{Name: "node-budget", Usage: "`SIZE` of the snapshots' files, images apart, to which they are brought back every minute as by snapshot gc --budget (default: no bound)"},
		&cli.StringFlag{Name: "handler-budget", Usage: "`SIZE` of the function and argument snapshots' files alone, to which they are brought back every minute (default: no bound)"},
		&cli.StringFlag{Name: "imports-budget", Usage: "`SIZE` of the import snapshots' files alone; what goes takes the function snapshots below it along (default: no bound)"},
		&cli.StringFlag{Name: "packages-budget", Usage: "`SIZE` of images' layers, beyond which those go that no image names (default: no bound)"},
		&cli.StringFlag{Name: "import-limit", Usage: "`SIZE` of a snapshot's archive, packed and unpacked, that is taken over, such as 2GiB (default: 16GiB)"},
		&cli.StringFlag{Name: "memory", Usage: "`SIZE` of the machines' private memory, such as 2GiB (default: a quarter of the host's)"},
		&cli.IntFlag{Name: "instances", Usage: "at most `N` instances that wait without a machine, for a timer or for bytes from outside (default: as many as fit)"},
		&cli.StringFlag{Name: "region-memory", Usage: "`SIZE` of the memory that functions share, such as 2GiB, of which an owner may have half (default: an eighth of the host's)"},
		&cli.StringFlag{Name: "state-memory", Usage: "`SIZE` of the memory for values that functions share by key, such as 1GiB, of which an owner may have three quarters (default: 256MiB)"},
		&cli.StringFlag{Name: "state-disk", Usage: "`SIZE` of the disk for what functions push of those values, of which an owner may have three quarters (default: 4GiB)"},
		&cli.StringFlag{Name: "parked-memory", Usage: "`SIZE` of the memory of instances that wait without a machine, such as 2GiB (default: a quarter of the host's)"},
		&cli.DurationFlag{Name: "window", Value: time.Minute, Usage: "close machines that were not needed for `TIME`"},
		&cli.IntFlag{Name: "concurrency", Usage: "run `N` invocations at a time (default: as many as there are machines)"},
		&cli.IntFlag{Name: "queue", Usage: "let `N` invocations wait for their turn, then refuse (default: as many as clients may have connections)"},
		&cli.IntFlag{Name: "function-queue", Usage: "let `N` invocations of one function wait (default: as many as in all)"},
		&cli.DurationFlag{Name: "max-wait", Value: sched.DefaultMaxWait, Usage: "refuse what would have to wait longer than `TIME`"},
		&cli.DurationFlag{Name: "target-wait", Value: sched.DefaultTarget, Usage: "while there is more work than can be done, refuse what would have to wait longer than `TIME`"},
		&cli.DurationFlag{Name: "drain", Value: 30 * time.Second, Usage: "end within `TIME` after SIGTERM: finish what runs, then cancel the rest"},
		&cli.BoolFlag{DisableDefaultText: true, Name: "auto-arguments", Usage: "take argument snapshots of functions with lazy arguments"},
		&cli.StringFlag{Name: "vsock-dir", Usage: "`DIR` in which each running instance has a Unix socket for its vsock ports"},
		&cli.StringFlag{Name: "host-ports", Usage: "comma-separated vsock `PORTS` of the host that guests may reach, each the socket host_PORT in --vsock-dir"},
		&cli.StringSliceFlag{Name: "runtime-image", Usage: "`NAME=IMAGE`: functions that AWS's clients create for the runtime of this name run in that image; may be repeated (default: the image that holds this very version: the runtime's own, one that is called so, or the only one)"},
		&cli.DurationFlag{Name: "function-timeout", Usage: "the most `TIME` that a function may have for an invocation (default and most: a day)"},
		&cli.StringFlag{Name: "function-memory", Usage: "the most `SIZE` that a function's instance may write (default: its image's memory)"},
		&cli.StringFlag{Name: "function-output", Usage: "the most `SIZE` that is kept of an invocation's output (default: 1MiB)"},
		&cli.StringFlag{Name: "logs-size", Value: "8MiB", Usage: "keep at most `SIZE` of what one function prints"},
		&cli.StringFlag{Name: "logs-total", Value: "1GiB", Usage: "keep at most `SIZE` of what all functions print"},
		&cli.DurationFlag{Name: "logs-age", Value: logs.DefaultAge, Usage: "keep what functions print for `TIME`"},
		&cli.StringFlag{Name: "plan", Value: "manual", Usage: "`HOW` plans are lived with: off (not at all), manual (those of plan apply), nightly or continuous (and fitted anew, at 3 o'clock or when other functions are called)"},
		&cli.StringFlag{Name: "log-level", Value: "info", Usage: "log what is at least `LEVEL`: debug, info, warn or error"},
		&cli.StringFlag{Name: "log-format", Value: "text", Usage: "`FORMAT` of the log on stderr: text or json"},
		&cli.StringFlag{Name: "trace", Value: "none", Usage: "send spans `TO` none, stdout, or an OTLP collector's http:// or https:// URL (without the flag: as the variables OTEL_* say)"},
	}, append(clusterFlags(), sandboxFlags()...)...)
}

// checkMachines refuses, before anything takes long, a number of machines that the host does not
// hold.
func checkMachines(e *cmdline.Env, c *cli.Context) error {
	if !c.IsSet("machines") { // the default fits, or Open says so
		return nil
	}
	p, err := e.OpenPlatform()
	if err != nil {
		return err
	}
	room := capacity.New(capacity.Host{}.Limits(), p.Capabilities().Machine)
	return errors.Join(room.Check(c.Int("machines")), p.Close())
}

func runService(e *cmdline.Env, c *cli.Context) error {
	cfg, err := readServeFlags(e, c)
	if err != nil {
		return err
	}
	if err := checkMachines(e, c); err != nil {
		return err
	}
	_, err = e.EnsureImage(c, cmdline.DefaultImage)
	later := errors.Is(err, source.ErrNoPackages) // as in a container of this program alone
	switch {
	case later:
		e.Notef("there is no image %s, and none can be made here; functions run in those that 'seussctl image build NAME --from SOURCE' brings", cmdline.DefaultImage)
	case err != nil:
		return err
	}
	// Images are built by code of others': that is done, and before it is confined.
	if cfg.sandbox, err = enterSandbox(e, c, cfg); err != nil {
		return err
	}
	defer cfg.sandbox.Close()
	cfg.options.Loaded = admission.Loaded(&cfg.logs)
	cfg.options.StateDir, cfg.options.Log, cfg.options.Progress = e.StateDir, cfg.log, e.Progress.Step
	if cfg.keys, err = access.Open(e.StateDir, cfg.log); err != nil {
		return err
	}
	defer cfg.keys.Close()
	cfg.options.Quota = cfg.keys.Quota
	d, err := e.Open(cfg.options)
	if err != nil {
		return err
	}
	if err := confine.CleanTemp(e.StateDir); err != nil {
		return errors.Join(err, d.Close())
	}
	hosted, ok := d.(api.Hosted)
	if !ok {
		return errors.Join(errors.New("this dispatcher cannot be served"), d.Close())
	}
	// The base snapshot is taken now: the first function need not wait for it.
	if !later {
		if _, err := d.Base(c.Context, cmdline.DefaultImage, ""); err != nil {
			return errors.Join(err, d.Close())
		}
	}
	e.Progress.Clear()
	return errors.Join(serveService(c.Context, e, cfg, hosted), d.Close())
}

// serveService serves until ctx ends, then drains.
func serveService(ctx context.Context, e *cmdline.Env, cfg *serveConfig, service api.Hosted) error {
	tracing, err := startTracing(ctx, cfg.trace, e.Stdout, cfg.log)
	if err != nil {
		return err
	}
	defer tracing.close(cfg.log)
	journal, err := events.OpenJournal(filepath.Join(e.StateDir, cmdline.JournalName))
	if err != nil {
		return err
	}
	kept := cfg.logs.open(e.StateDir, cfg.log, service)
	defer func() {
		if err := kept.Close(logsClose); err != nil {
			cfg.log.Warn("the service ends before all is written", "error", err)
		}
	}()
	addProcessors(cfg.queue.Slots)
	cfg.queue.Queued = service.Lot().Want
	scheduler := sched.New(cfg.queue)
	metrics := server.NewMetrics()
	control := admission.New(admission.Options{Quotas: quota.NewBook(cfg.keys.Quota), Functions: service, Invocations: service, Scheduler: scheduler, Metrics: metrics, Log: cfg.log, Tracer: tracing.tracer(), Logs: &cfg.logs, Crowded: service.Lot().Full})
	service.Live().Admit(control.Admit)
	service.Chained().Serve(control.Chained)
	if err := ensureToken(&cfg.token, e.StateDir); err != nil {
		return errors.Join(err, journal.Close())
	}
	listeners, err := listen(e, cfg)
	if err != nil {
		return errors.Join(err, journal.Close())
	}
	member, err := joinCluster(ctx, e, cfg, service, scheduler)
	if err != nil {
		for _, l := range listeners {
			err = errors.Join(err, l.Close())
		}
		return errors.Join(err, journal.Close())
	}
	if member != nil {
		defer member.Close()
	}
	measures := sealSandbox(e, cfg)
	if member != nil { // code runs when all is sealed, other members' too
		shareNodes(e, member, service) // before anything is invoked
		elsewhere.Start(member, control, scheduler)
	}
	// It begins with the events of an earlier run, in guests: when all is sealed, and when
	// nothing but a drain ends it.
	queue := events.New(events.Options{Run: control.Run, Journal: journal, Log: cfg.log, Failed: admission.EventFailed(&cfg.logs), Rules: admission.EventRules(service), Over: admission.EventOver(service, &cfg.logs)})
	tcp := endpointOf(listeners, cfg.token)
	o := server.Options{Endpoint: tcp, ImportBytes: cfg.importBytes, Keys: cfg.keys, Service: service, Admission: control, Scheduler: scheduler, Events: queue, Metrics: metrics, Logs: kept, Log: cfg.log, Sandbox: measures}
	if member != nil {
		o.Cluster = member
	}
	s := server.New(o)
	// Invocations outlive ctx: they are cancelled when the drain's time is over.
	base, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	conns := listener.NewGroup(listener.Options{Log: cfg.log})
	failed := make(chan error, len(listeners))
	var servers []*http.Server
	for _, l := range listeners {
		h := server.NewHTTPServer(s.Access(cfg.token.text, l.unix))
		h.BaseContext = func(net.Listener) context.Context { return base }
		h.ErrorLog = slog.NewLogLogger(cfg.log.Handler(), slog.LevelDebug)
		servers = append(servers, h)
		go func() {
			if err := h.Serve(conns.Listen(l.Listener, cfg.connections)); !errors.Is(err, http.ErrServerClosed) {
				failed <- fmt.Errorf("serve %s: %w", l.Addr(), err)
			}
		}()
	}
	if err = announce(e, listeners, tcp); err == nil {
		select {
		case <-ctx.Done():
		case err = <-failed:
		}
	}
	if member != nil {
		member.Leave()
	}
	return errors.Join(err, drain(cfg, s, servers, conns, cancel))
}

// manyThreads is half of what Go's runtime allows by itself.
const manyThreads = 5000

// addProcessors lets Go run as many threads more as may be inside a guest at a time, up to
// four for each processor: that many compute side by side or wait for the kernel, and each
// of Go's processors brings workers of the garbage collector.
// A thread that is keeps its processor of Go's until the runtime's monitor takes it
// away; under load that takes milliseconds, in which requests are not even read
// (docs/decisions/scheduling.md, "Why does the daemon take more of Go's processors than there are?").
// $GOMAXPROCS, where it is set, stands.
func addProcessors(slots int) {
	if os.Getenv("GOMAXPROCS") == "" {
		own := runtime.GOMAXPROCS(0)
		runtime.GOMAXPROCS(own + min(slots, capacity.MachinesPerCPU*own))
	}
	if slots > manyThreads { // each takes one while it is inside its guest
		debug.SetMaxThreads(slots + manyThreads)
	}
}

var errDrained = errors.New("the service has ended")

// lastWords is how much of the drain's time is kept for what was cancelled to
// answer, and for clients to read: a tenth of it, but no more.
const lastWords = 2 * time.Second

// drain ends the service within cfg.drain: nothing new is taken, what waits and
// runs is finished, and what is not when little of the time is left is cancelled.
func drain(cfg *serveConfig, s *server.Server, servers []*http.Server, conns *listener.Group, cancel context.CancelCauseFunc) error {
	cfg.log.Info("draining", "running", s.Scheduler.Stats().Running, "waiting", s.Scheduler.Stats().Waiting, "for_at_most", cfg.drain)
	end, done := context.WithTimeout(context.Background(), cfg.drain)
	defer done()
	work, done := context.WithTimeout(end, cfg.drain-min(cfg.drain/10, lastWords))
	defer done()
	s.Stop()
	var errs []error
	// Events first: they need the s.Scheduler.
	if err := s.Events.Close(work); err != nil {
		errs = append(errs, err)
	}
	if err := s.Scheduler.Drain(work); err != nil {
		errs = append(errs, fmt.Errorf("%w; what still runs is cancelled", err))
		cancel(errDrained)
	}
	// What was cancelled answers at once; answers are written.
	for _, h := range servers {
		if err := h.Shutdown(end); err != nil {
			errs = append(errs, h.Close())
		}
	}
	if err := conns.Close(end); err != nil {
		cfg.log.Warn("the service ends before all has been read", "error", err) // no fault of the service's
	}
	if err := s.Scheduler.Wait(end); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
