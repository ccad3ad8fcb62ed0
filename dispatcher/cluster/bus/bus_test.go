package bus

import (
	"bytes"
	"crypto/tls"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"seuss/dispatcher/cluster/trust"
)

// TestThePortForClientsServesNobody: not in the clear, not with a certificate of another
// authority's, and not with one of the cluster's either, whose holder has no password.
func TestThePortForClientsServesNobody(t *testing.T) {
	t.Parallel()
	own, other := memberTLS(t, trust.NewSecret()), memberTLS(t, trust.NewSecret())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	b, err := Start(Options{Cluster: "c", Server: "a", Listen: l.Addr().String(), TLS: own, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := b.Conn().Flush(); err != nil {
		t.Error(err)
	}
	for what, o := range map[string][]nats.Option{
		"nothing":                   nil,
		"another authority's":       {nats.Secure(other)},
		"a member's certificate":    {nats.Secure(own)},
		"a member's, and a guess":   {nats.Secure(own), nats.Token("guess")},
		"in the clear, and a guess": {nats.Token("guess")},
	} {
		if conn, err := nats.Connect(b.server.ClientURL(), o...); err == nil {
			conn.Close()
			t.Errorf("%s: it is let in", what)
		}
	}
}

func memberTLS(t *testing.T, secret string) *tls.Config {
	t.Helper()
	a, err := trust.NewAuthority("c", secret)
	if err != nil {
		t.Fatal(err)
	}
	c, err := a.Member("a")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestTheEngineComplainsOnceASecond: however often it is made to, by whoever reaches its port.
func TestTheEngineComplainsOnceASecond(t *testing.T) {
	var out bytes.Buffer
	l := logger{slog.New(slog.NewTextHandler(&out, nil)), new(atomic.Int64)}
	began := time.Now().Unix()
	for range 1000 {
		l.Errorf("handshake error: %d", 1)
	}
	if lines, most := int64(strings.Count(out.String(), "\n")), time.Now().Unix()-began+1; lines < 1 || lines > most {
		t.Errorf("%d lines in %d seconds", lines, most)
	}
}
