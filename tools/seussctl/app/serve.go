package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"
	"golang.org/x/net/netutil"

	"seuss/dispatcher"
	"seuss/dispatcher/httpapi"
	"seuss/dispatcher/sched"
)

// tokenVariable holds the token where --token-file does not name a file.
const tokenVariable = "SEUSS_TOKEN"

func (e *env) serve() *cli.Command {
	return e.command(spec{
		name:  "serve",
		usage: "serve functions over HTTP",
		description: `
Serves AWS Lambda's API for functions and their invocation, and a native API
(GET /openapi.json describes both) on an address and on Unix sockets. Metrics
for Prometheus are at /metrics.

The other commands use the daemon while it runs on their state directory.

Beyond this machine's own addresses a token is required, in a file that
--token-file names or in $` + tokenVariable + `. Clients send it as a bearer token; AWS's SDKs
sign with it as their secret access key.

SIGTERM or Ctrl-C ends the service: what waits and runs is finished first, for
at most --drain.`,
		examples: []string{
			"seussctl serve",
			"seussctl serve --listen 127.0.0.1:9001 --machines 16 --memory 2GiB",
			"seussctl serve --allow-net api.example.com:443 --allow-net '[2001:db8::/32]:*'",
			"aws lambda invoke --endpoint-url http://127.0.0.1:9001 --function-name hello /dev/stdout",
		},
		flags:  serveFlags(),
		action: func(c *cli.Context, e *env) error { return e.runService(c) },
	})
}

func serveFlags() []cli.Flag {
	return []cli.Flag{
		verifyFlag(), allowNetFlag(),
		&cli.StringFlag{Name: "listen", Value: "127.0.0.1:9001", Usage: "`ADDRESS` to listen on; port 0 takes any"},
		&cli.StringFlag{Name: "socket", Usage: "`PATH` of a further Unix socket to listen on"},
		&cli.StringFlag{Name: "token-file", Usage: "`FILE` with the token that clients need"},
		&cli.IntFlag{Name: "machines", Value: 4 * runtime.NumCPU(), Usage: "at most `N` machines for each image"},
		&cli.IntFlag{Name: "spare", Value: 1, Usage: "keep `N` machines of each image in any case"},
		&cli.StringFlag{Name: "node-budget", Usage: "`SIZE` of the snapshots' files, images apart, to which they are brought back every minute as by snapshot gc --budget (default: no bound)"},
		&cli.StringFlag{Name: "memory", Usage: "`SIZE` of the machines' private memory, such as 2GiB (default: a quarter of the host's)"},
		&cli.DurationFlag{Name: "window", Value: time.Minute, Usage: "close machines that were not needed for `TIME`"},
		&cli.IntFlag{Name: "concurrency", Usage: "run `N` invocations at a time (default: as many as there are machines)"},
		&cli.IntFlag{Name: "queue", Value: sched.DefaultQueue, Usage: "let `N` invocations wait, then refuse"},
		&cli.IntFlag{Name: "function-queue", Value: sched.DefaultFunctionQueue, Usage: "let `N` invocations of one function wait"},
		&cli.DurationFlag{Name: "max-wait", Value: sched.DefaultMaxWait, Usage: "refuse what would have to wait longer than `TIME`"},
		&cli.DurationFlag{Name: "target-wait", Value: sched.DefaultTarget, Usage: "while there is more work than can be done, refuse what would have to wait longer than `TIME`"},
		&cli.DurationFlag{Name: "drain", Value: 30 * time.Second, Usage: "finish what runs within `TIME` at the end"},
		&cli.BoolFlag{DisableDefaultText: true, Name: "auto-arguments", Usage: "take argument snapshots of functions with lazy arguments"},
		&cli.StringFlag{Name: "vsock-dir", Usage: "`DIR` in which each running instance has a Unix socket for its vsock ports"},
		&cli.StringFlag{Name: "host-ports", Usage: "comma-separated vsock `PORTS` of the host that guests may reach, each the socket host_PORT in --vsock-dir"},
		&cli.StringFlag{Name: "log-level", Value: "info", Usage: "log what is at least `LEVEL`: debug, info, warn or error"},
		&cli.StringFlag{Name: "log-format", Value: "text", Usage: "`FORMAT` of the log on stderr: text or json"},
		&cli.StringFlag{Name: "trace", Value: "none", Usage: "send spans `TO` none, stdout, or an OTLP collector's http:// or https:// URL"},
	}
}

// serveConfig is what the flags say.
type serveConfig struct {
	listen, socket, token string
	options               dispatcher.Options
	queue                 sched.Options
	drain                 time.Duration
	log                   *slog.Logger
	trace                 string
}

func (e *env) readServeFlags(c *cli.Context) (*serveConfig, error) {
	bad := func(name string, why string) error {
		return usagef(c.Command.HelpName, "--%s %v: %s", name, c.Value(name), why)
	}
	for _, name := range []string{"machines", "queue", "function-queue"} {
		if c.Int(name) < 1 {
			return nil, bad(name, "must be at least 1")
		}
	}
	for _, name := range []string{"window", "max-wait", "target-wait", "drain"} {
		if c.Duration(name) <= 0 {
			return nil, bad(name, "must be more than 0")
		}
	}
	if c.Int("spare") < 0 || c.Int("spare") > c.Int("machines") {
		return nil, bad("spare", "must be 0 to the number of machines")
	}
	slots := c.Int("concurrency")
	if !c.IsSet("concurrency") {
		slots = c.Int("machines")
	}
	if slots < 1 {
		return nil, bad("concurrency", "must be at least 1")
	}
	memory := hostMemory() / 4
	if text := c.String("memory"); text != "" {
		n, err := humanize.ParseBytes(text)
		if err != nil || n < 16<<20 {
			return nil, bad("memory", "must be a size of at least 16MiB")
		}
		memory = n
	}
	cfg := &serveConfig{
		listen: c.String("listen"), socket: c.String("socket"), drain: c.Duration("drain"), trace: c.String("trace"),
		options: dispatcher.Options{
			PoolSize: c.Int("machines"), PoolFloor: c.Int("spare"), PoolWindow: c.Duration("window"), PoolBytes: memory,
			AutoArguments: c.Bool("auto-arguments"), HugePages: e.hugePages,
		},
		queue: sched.Options{Slots: slots, Queue: c.Int("queue"), FunctionQueue: c.Int("function-queue"), MaxWait: c.Duration("max-wait"), Target: c.Duration("target-wait")},
	}
	verify, err := readVerify(c)
	if err != nil {
		return nil, err
	}
	cfg.options.Verify = verify
	if cfg.options.Network, err = readNetwork(c); err != nil {
		return nil, err
	}
	if text := c.String("node-budget"); text != "" {
		n, err := humanize.ParseBytes(text)
		if err != nil || n == 0 {
			return nil, bad("node-budget", "must be a size such as 2GiB")
		}
		cfg.options.NodeBytes = n
	}
	cfg.options.VsockDir = c.String("vsock-dir")
	if text := c.String("host-ports"); text != "" {
		ports, err := splitList(text)
		for _, p := range ports {
			n, perr := strconv.ParseUint(p, 10, 32)
			err = errors.Join(err, perr)
			cfg.options.HostPorts = append(cfg.options.HostPorts, uint32(n))
		}
		if err != nil || cfg.options.VsockDir == "" {
			return nil, bad("host-ports", "must be port numbers, together with --vsock-dir")
		}
	}
	var least slog.Level
	if err := least.UnmarshalText([]byte(c.String("log-level"))); err != nil {
		return nil, bad("log-level", "must be debug, info, warn or error")
	}
	if e.log != nil {
		least = slog.LevelDebug // --verbose
	}
	level := &slog.HandlerOptions{Level: least}
	switch c.String("log-format") {
	case "text":
		cfg.log = slog.New(slog.NewTextHandler(e.stderr, level))
	case "json":
		cfg.log = slog.New(slog.NewJSONHandler(e.stderr, level))
	default:
		return nil, bad("log-format", "must be text or json")
	}
	if cfg.trace != "none" && cfg.trace != "stdout" && !strings.HasPrefix(cfg.trace, "http://") && !strings.HasPrefix(cfg.trace, "https://") {
		return nil, bad("trace", "must be none, stdout, or an http:// or https:// URL")
	}
	if cfg.token, err = e.readToken(c.String("token-file")); err != nil {
		return nil, err
	}
	if cfg.token == "" {
		if err := checkLoopback(cfg.listen); err != nil {
			return nil, usagef(c.Command.HelpName, "%w", err)
		}
	}
	return cfg, nil
}

// minToken keeps a token from being guessed.
const minToken = 16

func (e *env) readToken(file string) (string, error) {
	token := e.getenv(tokenVariable)
	if file != "" {
		b, err := os.ReadFile(file)
		if err != nil {
			return "", fmt.Errorf("token: %w", err)
		}
		token = strings.TrimSpace(string(b))
		if token == "" {
			return "", fmt.Errorf("token: %s is empty", file)
		}
	}
	if token != "" && len(token) < minToken {
		return "", fmt.Errorf("token: it has %d characters, at least %d are needed: it is all that keeps others out", len(token), minToken)
	}
	return token, nil
}

// checkLoopback says whether an address can be reached from this machine only. A
// name is not looked up: what it leads to may change.
func checkLoopback(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("--listen %q: %w", address, err)
	}
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	return fmt.Errorf("--listen %s can be reached from other machines: a token is required, see --token-file", address)
}

// hostMemory is the host's memory in bytes, 4 GiB if it cannot be read.
func hostMemory() uint64 {
	b, err := os.ReadFile("/proc/meminfo")
	var kib uint64
	if err == nil {
		if _, err = fmt.Sscanf(string(b), "MemTotal: %d kB", &kib); err == nil {
			return kib << 10
		}
	}
	return 4 << 30
}

func (e *env) runService(c *cli.Context) error {
	cfg, err := e.readServeFlags(c)
	if err != nil {
		return err
	}
	if err := e.ensureImage(c.Context, defaultImage); err != nil {
		return err
	}
	cfg.options.StateDir, cfg.options.Log, cfg.options.Progress = e.stateDir, cfg.log, e.progress.step
	d, err := e.open(cfg.options)
	if err != nil {
		return err
	}
	backend, ok := d.(httpapi.Backend)
	if !ok {
		return errors.Join(errors.New("this dispatcher cannot be served"), d.Close())
	}
	// The base snapshot is taken now: the first function need not wait for it.
	if _, err := d.Base(c.Context, defaultImage); err != nil {
		return errors.Join(err, d.Close())
	}
	e.progress.clear()
	return errors.Join(e.serveBackend(c.Context, cfg, backend), d.Close())
}

// lambdaRuntimes maps prefixes of Lambda's runtime names to the images that there
// are: Node.js where its image has been built.
func (e *env) lambdaRuntimes() map[string]string {
	names := map[string]string{"python3.": defaultImage}
	if _, err := e.images().Find(nodeImage); err == nil {
		names["nodejs"] = nodeImage
	}
	return names
}

// serveBackend serves until ctx ends, then drains.
func (e *env) serveBackend(ctx context.Context, cfg *serveConfig, backend httpapi.Backend) error {
	tracing, err := startTracing(ctx, cfg.trace, e.stdout)
	if err != nil {
		return err
	}
	defer tracing.close(cfg.log)
	journal, err := httpapi.OpenJournal(filepath.Join(e.stateDir, "events.db"))
	if err != nil {
		return err
	}
	scheduler := sched.New(cfg.queue)
	s := httpapi.New(httpapi.Options{Backend: backend, Journal: journal, Runtimes: e.lambdaRuntimes(), Scheduler: scheduler, Log: cfg.log, Tracer: tracing.tracer()})
	listeners, err := e.listen(cfg)
	if err != nil {
		return errors.Join(err, s.Close(ctx))
	}
	// Invocations outlive ctx: they are cancelled when the drain's time is over.
	base, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	failed := make(chan error, len(listeners))
	var servers []*http.Server
	for _, l := range listeners {
		h := httpapi.NewHTTPServer(s.Access(cfg.token, l.unix))
		h.BaseContext = func(net.Listener) context.Context { return base }
		h.ErrorLog = slog.NewLogLogger(cfg.log.Handler(), slog.LevelDebug)
		servers = append(servers, h)
		go func() {
			if err := h.Serve(netutil.LimitListener(l.Listener, httpapi.MaxConnections)); !errors.Is(err, http.ErrServerClosed) {
				failed <- fmt.Errorf("serve %s: %w", l.Addr(), err)
			}
		}()
	}
	if err := e.announce(listeners); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	return errors.Join(err, drain(cfg, s, scheduler, servers, cancel))
}

var errDrained = errors.New("the service has ended")

// drain ends the service: nothing new is taken, what waits and runs is finished,
// and what is not when the time is over is cancelled.
func drain(cfg *serveConfig, s *httpapi.Server, scheduler *sched.Scheduler, servers []*http.Server, cancel context.CancelCauseFunc) error {
	cfg.log.Info("draining", "running", scheduler.Stats().Running, "waiting", scheduler.Stats().Waiting, "for_at_most", cfg.drain)
	ctx, done := context.WithTimeout(context.Background(), cfg.drain)
	defer done()
	s.Stop()
	var errs []error
	// Events first: they need the scheduler.
	if err := s.Close(ctx); err != nil {
		errs = append(errs, err)
	}
	if err := scheduler.Drain(ctx); err != nil {
		errs = append(errs, fmt.Errorf("%w; what still runs is cancelled", err))
		cancel(errDrained)
	}
	// What was cancelled answers at once; answers are written.
	last, done := context.WithTimeout(context.Background(), 5*time.Second)
	defer done()
	for _, h := range servers {
		if err := h.Shutdown(last); err != nil {
			errs = append(errs, h.Close())
		}
	}
	if err := scheduler.Wait(last); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

type listener struct {
	net.Listener
	unix bool
	name string
}

// listen opens the address and the sockets.
func (e *env) listen(cfg *serveConfig) (list []listener, err error) {
	defer func() {
		if err != nil {
			for _, l := range list {
				l.Close()
			}
		}
	}()
	l, err := net.Listen("tcp", cfg.listen)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	list = append(list, listener{l, false, "http://" + l.Addr().String()})
	paths := []string{filepath.Join(e.stateDir, socketName)}
	if cfg.socket != "" {
		paths = append(paths, cfg.socket)
	}
	for _, path := range paths {
		l, err := listenSocket(path)
		if err != nil {
			return list, err
		}
		list = append(list, listener{l, true, "unix:" + path})
	}
	return list, nil
}

// announce says where the service is reached: programs read the one JSON
// document on stdout, people a line on stderr.
func (e *env) announce(listeners []listener) error {
	var names []string
	for _, l := range listeners {
		names = append(names, l.name)
	}
	if e.json {
		return e.printJSON(struct {
			Listening []string `json:"listening"`
		}{names})
	}
	_, err := io.WriteString(e.stderr, "seussctl: serving on "+strings.Join(names, " and ")+"\n")
	return err
}
