package outbound

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
)

func mustParse(t testing.TB, entries ...string) *Policy {
	t.Helper()
	p, err := Parse(entries)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestParse(t *testing.T) {
	if p, err := Parse(nil); p != nil || err != nil {
		t.Errorf("no entries: %v, %v", p, err)
	}
	for _, good := range []string{
		"example.com:443", "Example.COM.:443", "*.example.com:*", "*:443", "a_b.example:1", "192.0.2.1:80", "10.0.0.0/8:*", "[2001:db8::1]:443", "[2001:db8::/32]:65535", "localhost:1",
	} {
		if _, err := Parse([]string{good}); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{
		"", ":", "example.com", "example.com:", ":443", "example.com:0", "example.com:65536", "example.com:-1", "example.com:http", "example.com:+1",
		"*.:443", "*.*.example.com:443", "a*.example.com:443", "exa mple.com:443", "-a.example:1", "a..example:1", "http://example.com:443", "exämple.com:1",
		"10.0.0.1/8:443", "10.0.0.0/33:443", "256.1.1.1:443", "1.2.3:443", "0x7f.1:443", "2001:db8::1:443", "[2001:db8::1]", "[2001:db8::1:443", "[10.0.0.1]:443", "[example.com]:443",
		"[fe80::1%eth0]:443", "[::ffff:10.0.0.1]:443", "[::ffff:0:0/96]:443",
	} {
		if _, err := Parse([]string{"example.com:1", bad}); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	if _, err := Parse([]string{"nothing"}); !errors.Is(err, ErrEntry) {
		t.Error(err)
	}
}

func TestPortsOf(t *testing.T) {
	p := mustParse(t, "example.com:443", "example.com:80", "*.example.com:*", "*.org:1")
	for name, want := range map[string][]uint16{
		"example.com": {443, 80}, "www.example.com": {anyPort}, "a.b.example.com": {anyPort}, "badexample.com": nil, "example.com.evil.net": nil,
		"org": nil, "x.org": {1}, "": nil, ".": nil, "a..example.com": nil, "*.example.com": nil,
	} {
		if got := p.portsOf(name); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", name, got, want)
		}
	}
	if got := mustParse(t, "*:443").portsOf("any.name"); !slices.Equal(got, []uint16{443}) {
		t.Error(got)
	}
	var none *Policy
	if none.portsOf("example.com") != nil {
		t.Error("a nil policy allows a name")
	}
}

// TestAllowed: which addresses entries name. Wide ones never lead into networks
// that are not public, and only an address itself leads to the host's own.
func TestAllowed(t *testing.T) {
	const own = "203.0.113.5"
	for _, c := range []struct {
		entry   string
		allowed []string
		refused []string
	}{
		{"192.0.2.1:80", []string{"192.0.2.1:80"}, []string{"192.0.2.1:81", "192.0.2.2:80", "192.0.2.1:0"}},
		{"192.0.2.0/24:*", []string{"192.0.2.1:80", "192.0.2.255:1"}, []string{"192.0.3.1:80"}},
		{"0.0.0.0/0:*", []string{"8.8.8.8:53"}, []string{
			"127.0.0.1:80", "10.0.0.1:80", "172.16.0.1:1", "192.168.1.1:1", "169.254.169.254:80", "100.64.0.1:1", "0.0.0.0:80", "0.1.2.3:80", "224.0.0.1:1", "255.255.255.255:1", "240.0.0.1:1", own + ":80", "198.18.0.1:1"}},
		{"[::/0]:*", []string{"[2606:4700::1]:443"}, []string{
			"[::1]:80", "[::]:80", "[fe80::1]:80", "[fc00::1]:80", "[fd00::1]:1", "[ff02::1]:1", "[::127.0.0.1]:80", "[64:ff9b::7f00:1]:80", "[2002:7f00:1::]:80", "[2001::1]:1", "8.8.8.8:1"}},
		{"10.0.0.0/8:*", []string{"10.0.0.1:80"}, []string{"11.0.0.1:80"}},
		{"10.2.0.0/16:5432", []string{"10.2.3.4:5432"}, []string{"10.3.3.4:5432", "10.2.3.4:5433"}},
		{"8.0.0.0/5:*", []string{"9.0.0.1:1"}, []string{"10.0.0.1:1"}},
		{"169.254.169.254:80", []string{"169.254.169.254:80"}, []string{"169.254.169.253:80"}},
		{"203.0.113.0/24:*", []string{"203.0.113.6:80"}, []string{own + ":80"}},
		{own + ":80", []string{own + ":80"}, []string{own + ":81"}},
		{"127.0.0.1:80", []string{"127.0.0.1:80"}, []string{"127.0.0.2:80"}},
		{"224.0.0.0/4:*", nil, []string{"224.0.0.1:1"}},
		{"*:*", nil, []string{"8.8.8.8:53", "127.0.0.1:1"}},
	} {
		n := New(mustParse(t, c.entry))
		n.Own = func() []netip.Addr { return []netip.Addr{netip.MustParseAddr(own)} }
		i := n.Open("test", "f", NewBudgets(1))
		for _, a := range c.allowed {
			if !i.allowed(netip.MustParseAddrPort(a)) {
				t.Errorf("%s: %s is refused", c.entry, a)
			}
		}
		for _, a := range c.refused {
			if i.allowed(netip.MustParseAddrPort(a)) {
				t.Errorf("%s: %s is allowed", c.entry, a)
			}
		}
		i.Close()
	}
}

func FuzzParse(f *testing.F) {
	f.Add("example.com:443")
	f.Add("[2001:db8::/32]:*")
	f.Fuzz(func(t *testing.T, entry string) {
		p, err := Parse([]string{entry})
		if err != nil {
			return
		}
		if len(p.names)+len(p.prefixes) != 1 {
			t.Fatalf("%q is %d entries", entry, len(p.names)+len(p.prefixes))
		}
		n := New(p)
		n.Own = func() []netip.Addr { return nil }
		for _, a := range []string{"0.0.0.0:1", "[::]:1", "224.0.0.1:1", "8.8.8.8:0"} {
			if n.Open("", "f", NewBudgets(1)).allowed(netip.MustParseAddrPort(a)) {
				t.Errorf("%q allows %s", entry, a)
			}
		}
	})
}
