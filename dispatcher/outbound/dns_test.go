package outbound

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

type names map[string][]string

var errBroken = errors.New("broken")

func (n names) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	list, ok := n[host]
	if !ok {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	var out []netip.Addr
	for _, a := range list {
		if a == "broken" {
			return nil, errBroken
		}
		out = append(out, netip.MustParseAddr(a))
	}
	return out, nil
}

func testInstance(t testing.TB, known names, entries ...string) *Instance {
	t.Helper()
	n := New(mustParse(t, entries...))
	n.Resolver = known
	n.Own = func() []netip.Addr { return []netip.Addr{netip.MustParseAddr("198.51.100.250")} }
	n.HasRoute = func(a netip.Addr) bool { return a != netip.MustParseAddr("2001:db8:dead::1") }
	i := n.Open("test", "f", NewBudgets(1))
	t.Cleanup(func() { i.Close() })
	return i
}

func ask(t testing.TB, name string, kind dnsmessage.Type, edns uint16) []byte {
	t.Helper()
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{ID: 77, RecursionDesired: true})
	err := errors.Join(b.StartQuestions(), b.Question(dnsmessage.Question{Name: dnsmessage.MustNewName(name), Type: kind, Class: dnsmessage.ClassINET}))
	if edns > 0 {
		var h dnsmessage.ResourceHeader
		err = errors.Join(err, b.StartAdditionals(), h.SetEDNS0(int(edns), dnsmessage.RCodeSuccess, false), b.OPTResource(h, dnsmessage.OPTResource{}))
	}
	q, ferr := b.Finish()
	if err = errors.Join(err, ferr); err != nil {
		t.Fatal(err)
	}
	return q
}

func addressesIn(t testing.TB, m *dnsmessage.Message) []string {
	t.Helper()
	var out []string
	for _, r := range m.Answers {
		switch b := r.Body.(type) {
		case *dnsmessage.AResource:
			out = append(out, netip.AddrFrom4(b.A).String())
		case *dnsmessage.AAAAResource:
			out = append(out, netip.AddrFrom16(b.AAAA).String())
		}
	}
	return out
}

func TestResolve(t *testing.T) {
	many := make([]string, 60)
	for i := range many {
		many[i] = fmt.Sprintf("198.51.100.%d", i+1)
	}
	i := testInstance(t, names{
		"example.com.":        {"198.51.100.1", "2001:db8::1", "2001:db8:dead::1", "::ffff:198.51.100.2"},
		"v4.example.com.":     {"198.51.100.1"},
		"many.example.com.":   many,
		"inside.example.com.": {"10.0.0.1", "127.0.0.1", "169.254.169.254", "::1", "fe80::1", "0.0.0.0", "198.51.100.250", "64:ff9b::a00:1"},
		"half.example.com.":   {"10.0.0.1", "198.51.100.3"},
		"db.example.com.":     {"10.9.0.1"},
		"broken.example.com.": {"broken"},
	}, "example.com:443", "*.example.com:*", "10.9.0.0/16:5432")
	for _, c := range []struct {
		name string
		kind dnsmessage.Type
		code dnsmessage.RCode
		want string
	}{
		{"example.com.", dnsmessage.TypeA, dnsmessage.RCodeSuccess, "198.51.100.1 198.51.100.2"},
		{"EXAMPLE.com.", dnsmessage.TypeAAAA, dnsmessage.RCodeSuccess, "2001:db8::1"},
		{"v4.example.com.", dnsmessage.TypeA, dnsmessage.RCodeSuccess, "198.51.100.1"},
		{"v4.example.com.", dnsmessage.TypeAAAA, dnsmessage.RCodeSuccess, ""},
		{"v4.example.com.", dnsmessage.TypeMX, dnsmessage.RCodeSuccess, ""},
		{"nobody.example.com.", dnsmessage.TypeA, dnsmessage.RCodeNameError, ""},
		{"broken.example.com.", dnsmessage.TypeA, dnsmessage.RCodeServerFailure, ""},
		{"example.net.", dnsmessage.TypeA, dnsmessage.RCodeRefused, ""},
		{"1.100.51.198.in-addr.arpa.", dnsmessage.TypePTR, dnsmessage.RCodeRefused, ""},
		{"inside.example.com.", dnsmessage.TypeA, dnsmessage.RCodeRefused, ""},
		{"inside.example.com.", dnsmessage.TypeAAAA, dnsmessage.RCodeRefused, ""},
		{"half.example.com.", dnsmessage.TypeA, dnsmessage.RCodeSuccess, "198.51.100.3"},
		{"db.example.com.", dnsmessage.TypeA, dnsmessage.RCodeSuccess, "10.9.0.1"},
	} {
		var m dnsmessage.Message
		if err := m.Unpack(i.resolve(ask(t, c.name, c.kind, 0), maxUDP)); err != nil {
			t.Fatalf("%s %v: %v", c.name, c.kind, err)
		}
		if got := strings.Join(addressesIn(t, &m), " "); got != c.want || m.RCode != c.code || m.ID != 77 || !m.Response || !m.RecursionAvailable {
			t.Errorf("%s %v: %q %v, want %q %v", c.name, c.kind, got, m.RCode, c.want, c.code)
		}
	}
	// What was answered may be connected to, on the ports of its entries.
	for to, want := range map[string]bool{
		"198.51.100.1:443": true, "198.51.100.1:80": true /* v4.example.com:* */, "198.51.100.2:443": true, "198.51.100.2:80": false, "[2001:db8::1]:443": true,
		"[2001:db8:dead::1]:443": false, "10.0.0.1:443": false, "127.0.0.1:443": false, "198.51.100.250:443": false, "10.9.0.1:5432": true, "10.9.0.1:443": false, "198.51.100.99:443": false,
	} {
		if got := i.allowed(netip.MustParseAddrPort(to)); got != want {
			t.Errorf("%s: allowed %v", to, got)
		}
	}
	// Another instance has asked for nothing.
	if i.n.Open("other", "f", NewBudgets(1)).allowed(netip.MustParseAddrPort("198.51.100.1:443")) {
		t.Error("what one instance was answered is open to another")
	}
	// More addresses than an answer holds.
	for edns, truncated := range map[uint16]bool{0: true, 1232: false} {
		var m dnsmessage.Message
		b := i.resolve(ask(t, "many.example.com.", dnsmessage.TypeA, edns), maxUDP)
		if err := m.Unpack(b); err != nil || m.Truncated != truncated || len(b) > max(int(edns), plainBytes) || truncated == (len(m.Answers) > 0) {
			t.Errorf("EDNS %d: %v, %d bytes, truncated %v, %d answers", edns, err, len(b), m.Truncated, len(m.Answers))
		}
	}
	var m dnsmessage.Message
	if err := m.Unpack(i.resolve(ask(t, "many.example.com.", dnsmessage.TypeA, 0), maxTCP)); err != nil || m.Truncated || len(m.Answers) != maxAnswers {
		t.Errorf("over TCP: %v, %d answers", err, len(m.Answers))
	}
}

func TestResolveNonsense(t *testing.T) {
	i := testInstance(t, names{"example.com.": {"198.51.100.1"}}, "example.com:443")
	good := ask(t, "example.com.", dnsmessage.TypeA, 0)
	response, notQuery, two := bytes.Clone(good), bytes.Clone(good), bytes.Clone(good)
	response[2] |= 0x80
	notQuery[2] |= 0x28
	two[5] = 2
	two = append(two, good[12:]...)
	for name, c := range map[string]struct {
		query []byte
		code  dnsmessage.RCode // -1: no answer
	}{
		"empty": {nil, 0xffff}, "short": {good[:11], 0xffff}, "a response": {response, 0xffff},
		"no question": {good[:12], dnsmessage.RCodeFormatError}, "two questions": {two, dnsmessage.RCodeFormatError}, "another operation": {notQuery, dnsmessage.RCodeNotImplemented},
	} {
		b := i.resolve(c.query, maxUDP)
		if c.code == 0xffff {
			if b != nil {
				t.Errorf("%s: answered with %d bytes", name, len(b))
			}
			continue
		}
		var m dnsmessage.Message
		if err := m.Unpack(b); err != nil || m.RCode != c.code || len(m.Answers) > 0 {
			t.Errorf("%s: %v %v", name, m.RCode, err)
		}
	}
}

// TestBounds: what an instance remembers is bounded.
func TestBounds(t *testing.T) {
	i := testInstance(t, nil, "*:*")
	for n := range maxGranted + 10 {
		a := netip.AddrFrom4([4]byte{9, 9, byte(n >> 8), byte(n)})
		if got := i.grant(a, []uint16{1}); got != (n < maxGranted) {
			t.Fatalf("address %d: %v", n, got)
		}
	}
	for n := range 1000 {
		i.note(fmt.Sprint("address ", n))
	}
	noted := i.Close()
	if len(noted) != maxNoted+1 || noted["others"] != 1000-maxNoted || i.n.Stats().Refused != 1000 {
		t.Errorf("%d notes, %d others", len(noted), noted["others"])
	}
}

func FuzzResolve(f *testing.F) {
	f.Add(ask(f, "example.com.", dnsmessage.TypeA, 0))
	f.Add(ask(f, "www.example.com.", dnsmessage.TypeAAAA, 4096))
	f.Add(ask(f, "example.net.", dnsmessage.TypePTR, 512))
	i := testInstance(f, names{"example.com.": {"198.51.100.1", "10.0.0.1", "2001:db8::1"}}, "example.com:443", "*.example.com:*")
	f.Fuzz(func(t *testing.T, query []byte) {
		b := i.resolve(query, maxUDP)
		if b == nil {
			return
		}
		var m dnsmessage.Message
		if err := m.Unpack(b); err != nil {
			t.Fatalf("the answer cannot be read: %v", err)
		}
		if len(b) > maxUDP || !m.Response || !bytes.Equal(b[:2], query[:2]) {
			t.Errorf("%d bytes, %+v", len(b), m.Header)
		}
		for _, a := range addressesIn(t, &m) {
			if !slices.Contains([]string{"198.51.100.1", "2001:db8::1"}, a) {
				t.Errorf("answered %s", a)
			}
		}
	})
}
