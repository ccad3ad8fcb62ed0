package outbound

import (
	"net"
	"net/netip"
)

// special are the networks that are not public (IANA's special-purpose registries):
// an entry counts for them only if it lies inside. Those that carry IPv4 addresses
// could lead to any of the others.
var special = prefixes("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.168.0.0/16", "198.18.0.0/15",
	"::/96", "64:ff9b::/96", "64:ff9b:1::/48", "2001::/32", "2002::/16", "fc00::/7", "fe80::/10", "fec0::/10")

// never are no addresses of one machine; to connect to 0.0.0.0 or :: is to connect
// to the host itself.
var never = prefixes("0.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4", "::/128", "ff00::/8")

func prefixes(list ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// leastPrefix returns how long an entry's prefix has to be to name an address: 0
// for a public one. ok is false for what is never an address to connect to.
func (n *Network) leastPrefix(a netip.Addr) (least int, ok bool) {
	for _, p := range never {
		if p.Contains(a) {
			return 0, false
		}
	}
	for _, own := range n.Own() {
		if own == a {
			return a.BitLen(), true
		}
	}
	for _, p := range special {
		if p.Contains(a) {
			least = max(least, p.Bits())
		}
	}
	return least, true
}

// hostAddresses returns the host's own addresses.
func hostAddresses() []netip.Addr {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil // the special networks are known all the same
	}
	var out []netip.Addr
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			out = append(out, p.Addr().Unmap().WithZone(""))
		}
	}
	return out
}

// hasRoute reports whether the host has a route to an address. Nothing is sent.
func hasRoute(a netip.Addr) bool {
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, 9)))
	if err != nil {
		return false
	}
	c.Close()
	return true
}
