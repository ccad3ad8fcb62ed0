package app

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"

	"github.com/urfave/cli/v2"
	"golang.org/x/net/http/httpproxy"

	"seuss/dispatcher/api"
	"seuss/tools/seussctl/cmdline"
	"seuss/tools/seussctl/confine"
)

// What --sandbox may be.
const (
	sandboxAuto = "auto"
	sandboxOff  = "off"
)

func sandboxFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "sandbox", Value: sandboxAuto, Usage: "confine the daemon `HOW`: auto, as far as the host allows, or off, to debug it"},
		&cli.StringFlag{Name: "user", Usage: "`NAME` of the user that root becomes (default: " + confine.DefaultUser + ", where there is one)"},
	}
}

// sandboxOptions says what a daemon with these flags will need.
func sandboxOptions(e *cmdline.Env, c *cli.Context, cfg *serveConfig) (confine.Options, error) {
	o := confine.Options{StateDir: e.StateDir, User: c.String("user"), Machines: cfg.options.PoolSize}
	if cfg.socket != "" {
		o.Dirs = append(o.Dirs, filepath.Dir(cfg.socket))
	}
	if dir := cfg.options.VsockDir; dir != "" {
		if err := os.MkdirAll(dir, 0o700); err != nil { // who runs below it may not make it
			return o, fmt.Errorf("vsock directory: %w", err)
		}
		o.Dirs = append(o.Dirs, dir)
	}
	if file := c.String("token-file"); file != "" {
		o.Files = append(o.Files, file)
	}
	if cfg.listen != listenNowhere {
		port, err := listenPort(c.Context, cfg.listen)
		if err != nil {
			return o, err
		}
		o.Bind = []uint16{port}
	}
	if cfg.cluster.Name != "" {
		// The engine's own port on loopback is any; other members' are theirs.
		o.Bind = append(append(o.Bind, cfg.cluster.ports()...), 0)
		o.Files = append(o.Files, cfg.cluster.file)
	}
	if cfg.options.Network != nil {
		o.Network = true
		o.Connect, o.AnyPort = cfg.options.Network.Policy.Ports()
	}
	if cfg.cluster.Name != "" {
		o.Network, o.AnyPort = true, true
	}
	if u, err := url.Parse(cfg.trace); err == nil && u.Host != "" {
		o.Network, o.TLS = true, u.Scheme == "https"
		o.Files = append(o.Files, environment(e.Getenv).files()...)
		proxy, err := httpproxy.FromEnvironment().ProxyFunc()(u) // as net/http, which takes it
		if err != nil {
			return o, fmt.Errorf("proxy for %s: %w", cfg.trace, err)
		}
		if proxy != nil {
			u, o.TLS = proxy, o.TLS || proxy.Scheme == "https"
		}
		port := cmp.Or(u.Port(), defaultPorts[u.Scheme])
		n, err := net.DefaultResolver.LookupPort(c.Context, "tcp", port)
		if err != nil {
			return o, cmdline.Usagef(c.Command.HelpName, "--trace %s: %w", cfg.trace, err)
		}
		o.Connect = append(o.Connect, uint16(n))
	}
	return o, nil
}

// defaultPorts are those of collectors and proxies whose URL has none.
var defaultPorts = map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}

// listenPort is the TCP port of an address to listen on.
func listenPort(ctx context.Context, address string) (uint16, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return 0, fmt.Errorf("--listen %q: %w", address, err)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err == nil {
		return uint16(n), nil
	}
	n, err := net.DefaultResolver.LookupPort(ctx, "tcp", port)
	if err != nil {
		return 0, fmt.Errorf("--listen %q: %w", address, err)
	}
	return uint16(n), nil
}

// enterSandbox confines the daemon: see package confine. It goes on in the program
// that is executed anew.
func enterSandbox(e *cmdline.Env, c *cli.Context, cfg *serveConfig) (*confine.Confinement, error) {
	switch how := c.String("sandbox"); how {
	case sandboxOff:
		return confine.Off(), nil
	case sandboxAuto:
	default:
		return nil, cmdline.Usagef(c.Command.HelpName, "--sandbox %q: must be %s or %s", how, sandboxAuto, sandboxOff)
	}
	o, err := sandboxOptions(e, c, cfg)
	if err != nil {
		return nil, err
	}
	// C libraries' resolvers load code and ask other processes.
	net.DefaultResolver.PreferGo = true
	sandbox, err := confine.Enter(o)
	if err != nil {
		return nil, err
	}
	if g := sandbox.Groups(); g != nil {
		e.Guest = g.Guest
	}
	return sandbox, nil
}

// sealSandbox takes away what was needed to start only, and says in the log what is
// in force.
func sealSandbox(e *cmdline.Env, cfg *serveConfig) []api.Measure {
	needs := confine.Needs{Network: cfg.options.Network != nil || cfg.cluster.Name != "" || cfg.trace != "none" && cfg.trace != "stdout", Sockets: cfg.options.VsockDir != ""}
	if e.Kind != nil {
		needs.Platform = e.Kind.Name
	}
	cfg.sandbox.Seal(needs)
	measures := cfg.sandbox.Measures()
	for _, m := range measures {
		level := slog.LevelInfo
		if !m.InForce {
			level = slog.LevelWarn
		}
		args := []any{"measure", m.Name, "in_force", m.InForce, "detail", m.Detail}
		if m.Fix != "" {
			args = append(args, "fix", m.Fix)
		}
		cfg.log.Log(context.Background(), level, "sandbox", args...)
	}
	return measures
}
