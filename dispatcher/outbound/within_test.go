package outbound

import (
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

func TestBeyond(t *testing.T) {
	const own = "203.0.113.5"
	n := New(mustParse(t, "example.com:443", "*.example.org:*", "0.0.0.0/0:443", "10.2.0.0/16:5432", "[2001:db8::/32]:*"))
	n.Own = func() []netip.Addr { return []netip.Addr{netip.MustParseAddr(own)} }
	for _, good := range []string{
		"example.com:443", "EXAMPLE.com.:443", "a.example.org:1", "*.example.org:*", "*.b.example.org:80", "192.0.2.1:443", "192.0.2.0/24:443", "0.0.0.0/0:443",
		"10.2.0.0/16:5432", "10.2.3.4:5432", "[2001:db8:1::/48]:22",
	} {
		if got := n.Beyond(mustParse(t, good)); len(got) != 0 {
			t.Errorf("%s is refused", good)
		}
	}
	for _, bad := range []string{
		"example.com:80", "example.com:*", "www.example.com:443", "example.org:1", "*.com:443", "*:443", "*.example.com:443",
		"192.0.2.1:80", "0.0.0.0/0:*", "10.0.0.0/8:443", "10.3.0.1:443", "10.2.3.4:*", "127.0.0.1:443", "169.254.169.254:443", own + ":443", "[2001:db9::1]:1", "[::1]:443",
	} {
		if got := n.Beyond(mustParse(t, bad)); !slices.Equal(got, []string{bad}) {
			t.Errorf("%s: refused are %v", bad, got)
		}
	}
	var none *Network
	if got := none.Beyond(mustParse(t, "example.com:443", "10.0.0.1:1")); len(got) != 2 {
		t.Errorf("where nothing is allowed: %v", got)
	}
	if len(n.Beyond(nil))+len(n.Beyond(Nothing))+len(none.Beyond(Nothing)) != 0 {
		t.Error("no list, or an empty one, asks for nothing")
	}
}

// TestWithin: an instance with a list of its own reaches what both lists allow, by
// address and by name.
func TestWithin(t *testing.T) {
	n := New(mustParse(t, "*.example.com:443", "*.example.com:80", "192.0.2.0/24:*"))
	n.Own = func() []netip.Addr { return nil }
	n.HasRoute = func(netip.Addr) bool { return true }
	n.Resolver = names{"a.example.com.": {"198.51.100.1"}, "b.example.com.": {"198.51.100.2"}, "c.example.net.": {"198.51.100.3"}}
	i := n.Open("test", "f", NewBudgets(1)).Within(mustParse(t, "a.example.com:443", "c.example.net:*", "192.0.2.7:22", "203.0.113.0/24:*"))
	defer i.Close()
	for name, want := range map[string]dnsmessage.RCode{"a.example.com.": dnsmessage.RCodeSuccess, "b.example.com.": dnsmessage.RCodeRefused, "c.example.net.": dnsmessage.RCodeRefused} {
		var m dnsmessage.Message
		if err := m.Unpack(i.resolve(ask(t, name, dnsmessage.TypeA, 0), maxUDP)); err != nil || m.RCode != want {
			t.Errorf("%s: %v, %v", name, m.RCode, err)
		}
	}
	for address, want := range map[string]bool{
		"198.51.100.1:443": true, "198.51.100.1:80": false, "198.51.100.2:443": false,
		"192.0.2.7:22": true, "192.0.2.7:23": false, "192.0.2.8:22": false, "203.0.113.1:1": false,
	} {
		if got := i.allowed(netip.MustParseAddrPort(address)); got != want {
			t.Errorf("%s: %v", address, got)
		}
	}
	closed := n.Open("test", "f", NewBudgets(1)).Within(Nothing)
	defer closed.Close()
	if closed.n != nil {
		t.Error("an empty list leaves a way out")
	}
}

func TestPortsInCommon(t *testing.T) {
	for _, c := range []struct{ a, b, want []uint16 }{
		{[]uint16{443}, []uint16{443, 80}, []uint16{443}},
		{[]uint16{anyPort}, []uint16{443, 80}, []uint16{443, 80}},
		{[]uint16{443}, []uint16{anyPort}, []uint16{443}},
		{[]uint16{anyPort}, []uint16{anyPort}, []uint16{anyPort}},
		{[]uint16{1}, []uint16{2}, nil},
		{nil, []uint16{anyPort}, nil},
	} {
		if got := both(c.a, c.b); !slices.Equal(got, c.want) {
			t.Errorf("%v and %v: %v", c.a, c.b, got)
		}
	}
}
