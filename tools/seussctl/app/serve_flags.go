package app

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"seuss/dispatcher"
	"seuss/dispatcher/access"
	"seuss/dispatcher/bounds"
	"seuss/dispatcher/capacity"
	"seuss/dispatcher/http/server"
	"seuss/dispatcher/logs"
	"seuss/dispatcher/sched"
	"seuss/dispatcher/state/region"
	"seuss/images/runtimes"
	"seuss/tools/seussctl/cmdline"
	"seuss/tools/seussctl/confine"
	"seuss/tools/seussctl/snapshotcmd"
)

// serveConfig is what the flags say.
type serveConfig struct {
	listen, socket string
	token          token
	importBytes    int64
	connections    int // of each listener
	options        dispatcher.Options
	keys           *access.Keeper // tokens and quotas
	queue          sched.Options
	drain          time.Duration
	log            *slog.Logger
	trace          string
	sandbox        *confine.Confinement
	logs           keptLogs
	cluster        clusterConfig
}

func readServeFlags(e *cmdline.Env, c *cli.Context) (*serveConfig, error) {
	bad := func(name string, why string) error {
		return cmdline.Usagef(c.Command.HelpName, "--%s %v: %s", name, c.Value(name), why)
	}
	for _, name := range []string{"machines", "queue", "function-queue"} {
		if c.Int(name) < 1 && (c.IsSet(name) || name == "machines") {
			return nil, bad(name, "must be at least 1")
		}
	}
	for _, name := range []string{"window", "max-wait", "target-wait", "drain", "logs-age"} {
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
	parked, err := sizeFlag(c, "parked-memory", hostMemory()/4)
	if err != nil {
		return nil, err
	}
	regions, err := sizeFlag(c, "region-memory", hostMemory()/8)
	if err != nil {
		return nil, err
	}
	shared, err := sizeFlag(c, "state-memory", 0)
	if err != nil {
		return nil, err
	}
	pushed, err := sizeFlag(c, "state-disk", 0)
	if err != nil {
		return nil, err
	}
	if c.Int("instances") < 0 || c.IsSet("instances") && c.Int("instances") < 1 {
		return nil, bad("instances", "must be at least 1")
	}
	cfg := &serveConfig{
		listen: c.String("listen"), socket: c.String("socket"), drain: c.Duration("drain"), trace: c.String("trace"),
		options: dispatcher.Options{
			Slots: slots, PoolSize: c.Int("machines"), PoolFloor: c.Int("spare"), PoolWindow: c.Duration("window"), PoolBytes: memory,
			Instances: c.Int("instances"), ParkedBytes: parked, Regions: region.New(region.Options{All: region.Limit{Bytes: regions}}), StateBytes: int64(shared), PushedBytes: int64(pushed),
			AutoArguments: c.Bool("auto-arguments"), HugePages: e.HugePages,
		},
		queue: sched.Options{Slots: slots, Queue: c.Int("queue"), FunctionQueue: c.Int("function-queue"), MaxWait: c.Duration("max-wait"), Target: c.Duration("target-wait")},
	}
	if err := cfg.options.Plans.Set(c.String("plan")); err != nil {
		return nil, bad("plan", err.Error())
	}
	cfg.connections = connections(cfg.options.Instances, parked)
	cfg.queue.Queue = cmp.Or(cfg.queue.Queue, cfg.connections)
	cfg.queue.FunctionQueue = cmp.Or(cfg.queue.FunctionQueue, cfg.queue.Queue)
	cfg.logs.options.Age = c.Duration("logs-age")
	for name, into := range map[string]*int64{"logs-size": &cfg.logs.options.Bytes, "logs-total": &cfg.logs.options.Total} {
		n, err := humanize.ParseBytes(c.String(name))
		if err != nil || n < logs.MinBytes || n > 1<<50 {
			return nil, bad(name, "must be a size of at least 64KiB")
		}
		*into = int64(n)
	}
	for _, pair := range c.StringSlice("runtime-image") {
		name, image, _ := strings.Cut(pair, "=")
		if ask, err := runtimes.ParseAsk(name); err != nil || ask.Version == "" || image == "" {
			return nil, bad("runtime-image", "want NAME=IMAGE, the name being AWS Lambda's of a version of a runtime")
		}
		if cfg.options.RuntimeImages == nil {
			cfg.options.RuntimeImages = map[string]string{}
		}
		cfg.options.RuntimeImages[name] = image
	}
	verify, err := snapshotcmd.ReadVerify(c)
	if err != nil {
		return nil, err
	}
	cfg.options.Verify = verify
	if cfg.options.Network, err = cmdline.ReadNetwork(c); err != nil {
		return nil, err
	}
	tier := &cfg.options.TierBytes
	for name, to := range map[string]*uint64{"node-budget": &cfg.options.NodeBytes, "handler-budget": &tier.Handler, "imports-budget": &tier.Imports, "packages-budget": &tier.Packages} {
		if text := c.String(name); text != "" {
			n, err := humanize.ParseBytes(text)
			if err != nil || n == 0 {
				return nil, bad(name, "must be a size such as 2GiB")
			}
			*to = n
		}
	}
	if text := c.String("import-limit"); text != "" {
		n, err := humanize.ParseBytes(text)
		if err != nil || n == 0 || n > math.MaxInt64 {
			return nil, bad("import-limit", "must be a size such as 2GiB")
		}
		cfg.importBytes = int64(n)
	}
	if cfg.options.FunctionTimeout = c.Duration("function-timeout"); cfg.options.FunctionTimeout < 0 || cfg.options.FunctionTimeout > bounds.MaxTimeout {
		return nil, bad("function-timeout", fmt.Sprintf("must be 0 to %v", bounds.MaxTimeout))
	}
	for name, to := range map[string]struct {
		field      *int
		unit, most uint64
	}{"function-memory": {&cfg.options.FunctionMemoryMiB, 1 << 20, 1 << 40}, "function-output": {&cfg.options.FunctionOutputBytes, 1, bounds.MaxOutputBytes}} {
		if text := c.String(name); text != "" {
			n, err := humanize.ParseBytes(text)
			if err != nil || n < to.unit || n > to.most {
				return nil, bad(name, fmt.Sprintf("must be a size of %s to %s", humanize.IBytes(to.unit), humanize.IBytes(to.most)))
			}
			*to.field = int(n / to.unit)
		}
	}
	cfg.options.VsockDir = c.String("vsock-dir")
	if text := c.String("host-ports"); text != "" {
		ports, err := cmdline.SplitList(text)
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
	if e.Log != nil {
		least = slog.LevelDebug // --verbose
	}
	if cfg.log, err = newLog(e.Stderr, c.String("log-format"), least); err != nil {
		return nil, bad("log-format", "must be text or json")
	}
	if c.String("log-format") == "json" {
		e.TellJSON(cfg.log)
	}
	if cfg.trace, err = readTrace(c.IsSet("trace"), cfg.trace, e.Getenv); err != nil {
		return nil, cmdline.Usagef(c.Command.HelpName, "%w", err)
	}
	if cfg.cluster, err = readClusterFlags(e, c); err != nil {
		return nil, err
	}
	if cfg.token, err = readTokenFlags(e, c); err != nil {
		return nil, err
	}
	if !cfg.token.given && cfg.listen != listenNowhere {
		if err := checkLoopback(cfg.listen); err != nil {
			return nil, cmdline.Usagef(c.Command.HelpName, "%w", err)
		}
	}
	return cfg, nil
}

// smallInstance is what a small instance takes while it is parked, its connection's buffers
// included, in bytes.
const smallInstance = 64 << 10

// connections is how many a listener takes: as many as clients may have in any case, and
// those whose instances wait, as far as the process may have descriptors for them.
func connections(instances int, parked uint64) int {
	if instances == 0 {
		instances = int(min(parked/smallInstance, 1<<20))
	}
	if limit := (capacity.Host{}).Limits().Descriptors.Limit; limit > 0 {
		instances = min(instances, limit/2)
	}
	return server.MaxConnections + instances
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
			return within(kib << 10)
		}
	}
	return within(4 << 30)
}

// within is what the process's control group leaves of memory.
func within(bytes uint64) uint64 {
	if limit, _ := (capacity.Host{}).MemoryLimit(); limit > 0 {
		return min(bytes, limit)
	}
	return bytes
}

// sizeFlag is a size of memory, def where the flag is not given.
func sizeFlag(c *cli.Context, name string, def uint64) (uint64, error) {
	text := c.String(name)
	if text == "" {
		return def, nil
	}
	n, err := humanize.ParseBytes(text)
	if err != nil || n < 1<<20 {
		return 0, cmdline.Usagef(c.Command.HelpName, "--%s %v: must be a size of at least 1MiB", name, text)
	}
	return n, nil
}
