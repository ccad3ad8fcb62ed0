package outbound

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"time"
)

// Bounds of an instance.
const (
	maxStreams   = 256 // connections, and sockets that ask name servers
	maxQuestions = 16  // under way on one stream
	maxUnderWay  = 64  // questions, on all streams of an instance
	maxGranted   = 4096
	maxNoted     = 32 // different refusals in its report
)

const (
	requestTimeout = 10 * time.Second // from a stream's beginning to its request
	connectTimeout = 30 * time.Second
	lookupTimeout  = 10 * time.Second
	answerTimeout  = 10 * time.Second // for a guest to read one
	flushTimeout   = time.Second      // for what an ended instance had sent
)

// Resolver looks names up; *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Network is what instances share. Its fields may be changed before its first use.
type Network struct {
	Policy   *Policy
	Resolver Resolver
	Log      *slog.Logger // nil means nowhere; a dispatcher puts its own there
	// Dial connects to an address that the policy allows.
	Dial func(ctx context.Context, to netip.AddrPort) (net.Conn, error)
	// Own returns the host's own addresses.
	Own func() []netip.Addr
	// HasRoute reports whether the host can reach an address at all; a name's others
	// are not answered: many programs try the first one alone.
	HasRoute func(netip.Addr) bool

	connections, refused, questions atomic.Uint64
}

// New returns a Network on the host's own resolver and sockets.
func New(p *Policy) *Network {
	dialer := net.Dialer{Timeout: connectTimeout}
	return &Network{
		Policy: p,
		// Go's own: a lookup that nobody waits for any more ends.
		Resolver: &net.Resolver{PreferGo: true},
		Dial: func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
			return dialer.DialContext(ctx, "tcp", to.String())
		},
		Own: hostAddresses, HasRoute: hasRoute,
	}
}

// Stats count what happened since New.
type Stats struct {
	Connections uint64 `json:"connections"` // that were allowed
	Refused     uint64 `json:"refused"`     // connections and names
	Questions   uint64 `json:"questions"`   // to the resolver
}

// Stats returns the counts; zero of a nil Network.
func (n *Network) Stats() Stats {
	if n == nil {
		return Stats{}
	}
	return Stats{n.connections.Load(), n.refused.Load(), n.questions.Load()}
}
