package app

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher"
	"seuss/dispatcher/api"
	"seuss/dispatcher/cluster"
	"seuss/dispatcher/cluster/bus"
	"seuss/dispatcher/cluster/members"
	"seuss/dispatcher/cluster/trust"
	"seuss/dispatcher/http/server"
	"seuss/dispatcher/sched"
	"seuss/tools/seussctl/cmdline"
	"seuss/tools/seussctl/version"
)

// clusterDir is the folder of a state directory in which is what a member keeps.
const clusterDir = "cluster"

// clusterConfig is what the flags say of a cluster.
type clusterConfig struct {
	cluster.Options        // of none where Name is empty
	file            string // with the secret
}

// secretVariable holds the secret where --cluster-secret names no file: containers are
// given it so, whose files are not their user's own.
const secretVariable = "SEUSS_CLUSTER_SECRET"

// clusterFlagNames are those for --cluster only.
var clusterFlagNames = []string{"member", "cluster-secret", "cluster-listen", "advertise", "peer-listen", "join"}

func clusterFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "cluster", Usage: "be a member of the cluster `NAME`"},
		&cli.StringFlag{Name: "member", Usage: "`NAME` of this member (default: the host's, up to its first dot)"},
		&cli.StringFlag{Name: "cluster-secret", Usage: "`FILE` with the cluster's secret (default: $" + secretVariable + " is the secret); seussctl cluster secret makes one"},
		&cli.StringFlag{Name: "cluster-listen", Usage: "`ADDRESS` HOST:PORT at which other members connect, with TLS"},
		&cli.StringFlag{Name: "advertise", Usage: "`ADDRESS` HOST:PORT at which others reach --cluster-listen (default: that)"},
		&cli.StringFlag{Name: "peer-listen", Usage: "`ADDRESS` HOST:PORT at which other members fetch what is large and pass invocations on, with TLS; port 0: any (default: the port after --cluster-listen's)"},
		&cli.StringSliceFlag{Name: "join", Usage: "`ADDRESSES` of members, separated by commas or in several flags (default: none, it is the first)"},
	}
}

// readClusterFlags refuses by name what is no member.
func readClusterFlags(e *cmdline.Env, c *cli.Context) (cfg clusterConfig, err error) {
	cfg.file = c.String("cluster-secret")
	bad := func(format string, args ...any) error { return cmdline.Usagef(c.Command.HelpName, format, args...) }
	if cfg.Name = c.String("cluster"); cfg.Name == "" {
		for _, name := range clusterFlagNames {
			if c.IsSet(name) {
				return cfg, bad("--%s: is for a member of a cluster, see --cluster", name)
			}
		}
		return cfg, nil
	}
	cfg.Member = c.String("member")
	if cfg.Member == "" {
		host, err := os.Hostname()
		if err != nil {
			return cfg, fmt.Errorf("--member: %w", err)
		}
		cfg.Member, _, _ = strings.Cut(host, ".")
	}
	switch {
	case !members.ValidCluster(cfg.Name):
		return cfg, bad("--cluster %.100q: %w", cfg.Name, cluster.ErrName)
	case !members.ValidName(cfg.Member):
		return cfg, bad("--member %.100q: %w", cfg.Member, cluster.ErrName)
	}
	cfg.Listen, cfg.Reached = c.String("cluster-listen"), c.String("advertise")
	for flag, address := range map[string]string{"cluster-listen": cfg.Listen, "advertise": cmp.Or(cfg.Reached, cfg.Listen)} {
		if _, _, err := bus.Split(address); err != nil {
			return cfg, bad("--%s %w", flag, err)
		}
	}
	host, _, _ := bus.Split(cmp.Or(cfg.Reached, cfg.Listen))
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		return cfg, bad("--advertise: others cannot reach %s: name an address of this host", host)
	}
	if cfg.Peers = c.String("peer-listen"); cfg.Peers == "" {
		host, port, _ := bus.Split(cfg.Listen)
		if port++; port > math.MaxUint16 {
			return cfg, bad("--peer-listen: --cluster-listen %s has no port after it: name one", cfg.Listen)
		}
		cfg.Peers = net.JoinHostPort(host, strconv.Itoa(port))
	}
	if _, port, err := net.SplitHostPort(cfg.Peers); err != nil {
		return cfg, bad("--peer-listen %q: want HOST:PORT: %w", cfg.Peers, err)
	} else if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return cfg, bad("--peer-listen %q: the port is no number: %w", cfg.Peers, err)
	}
	for _, list := range c.StringSlice("join") {
		addresses, err := cmdline.SplitList(list)
		if err != nil {
			return cfg, bad("--join %q: %w", list, err)
		}
		for _, address := range addresses {
			if _, _, err := bus.Split(address); err != nil {
				return cfg, bad("--join %w", err)
			}
			cfg.Join = append(cfg.Join, address)
		}
	}
	switch text := e.Getenv(secretVariable); {
	case cfg.file != "":
		cfg.Secret, err = trust.ReadFile(cfg.file)
	case text != "":
		cfg.Secret, err = trust.ReadText(text, "$"+secretVariable)
	default:
		return cfg, bad("--cluster-secret: is needed, on loopback too: seussctl cluster secret FILE makes one for all members")
	}
	if err != nil {
		return cfg, fmt.Errorf("--cluster-secret: %w", err)
	}
	return cfg, nil
}

// ports are those that a member listens at.
func (cfg *clusterConfig) ports() (list []uint16) {
	for _, address := range []string{cfg.Listen, cfg.Peers} { // which were read already
		_, text, _ := net.SplitHostPort(address)
		port, _ := strconv.ParseUint(text, 10, 16)
		list = append(list, uint16(port))
	}
	return list
}

// joinCluster makes the daemon a member; it is of none, nil, without --cluster.
func joinCluster(ctx context.Context, e *cmdline.Env, cfg *serveConfig, service api.Hosted, scheduler *sched.Scheduler) (*cluster.Cluster, error) {
	o := cfg.cluster.Options
	if o.Name == "" {
		return nil, nil
	}
	o.Dir, o.Log, o.Release = filepath.Join(e.StateDir, clusterDir), cfg.log, version.Number
	st := service.Stats()
	sum := sha256.Sum256(fmt.Append(nil, st.CPU.XSaveBytes, st.CPU.Names))
	o.Platform, o.CPU = st.Platform, members.CPU{Name: st.CPU.Vendor + " " + st.CPU.Model, Flags: hex.EncodeToString(sum[:8])}
	o.Sample = func() members.Load { return sampleLoad(service, scheduler) }
	replica := service.Replica()
	o.Deployments = replica
	member, err := cluster.Join(ctx, o)
	return member, err
}

// shareNodes has the member give snapshots to others, and fetch theirs.
func shareNodes(e *cmdline.Env, member *cluster.Cluster, service api.Hosted) {
	replica := service.Replica()
	replica.AskOthers(member.ShareNodes(replica, filepath.Join(e.StateDir, dispatcher.SpoolDir), server.FreeSpace))
}

// sampleLoad says what this daemon has to do.
func sampleLoad(service api.Hosted, scheduler *sched.Scheduler) members.Load {
	st := scheduler.Stats()
	// What is parked is under way: who drains this member waits for it, too.
	l := members.Load{Slots: st.Slots, Running: st.Running, Waiting: st.Waiting + st.Paused, Parked: st.Paused, Instances: service.Live().Stats().Instances, Memory: hostMemory(), Available: availableMemory()}
	pools, err := service.Pools(context.Background())
	if err != nil {
		return l
	}
	for _, p := range pools {
		l.Machines += p.Machines
		l.Free += p.Free
	}
	return l
}

// availableMemory is what the kernel would still give, in bytes; 0: it does not say.
func availableMemory() uint64 {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	_, rest, _ := bytes.Cut(b, []byte("\nMemAvailable:"))
	var kib uint64
	if _, err := fmt.Sscanf(string(rest), "%d kB", &kib); err != nil {
		return 0
	}
	return within(kib << 10)
}
