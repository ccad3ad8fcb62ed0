package outbound

import (
	"net/netip"
	"slices"
	"strings"
)

// A function may be held to a list of its own, within that of the Network: it reaches
// what both allow. The Network's may shrink later, so both are asked each time.

// Within gives an instance, before its first stream, a list of its own, if that is not
// nil: it may reach what both that and the Network allow.
func (i *Instance) Within(p *Policy) *Instance {
	i.within = p
	if p == Nothing && i.n != nil {
		i.end()
		i.n = nil
	}
	return i
}

// Entries returns the list as it was given, names first.
func (p *Policy) Entries() (entries []string) {
	if p == nil {
		return nil
	}
	for _, e := range p.names {
		entries = append(entries, e.text)
	}
	for _, e := range p.prefixes {
		entries = append(entries, e.text)
	}
	return entries
}

// Beyond returns the entries of a function's list that the Network does not allow as a
// whole, as they were given. An entry is allowed if one of the Network's covers it.
func (n *Network) Beyond(p *Policy) (entries []string) {
	if p == nil {
		return nil
	}
	var outer *Policy
	if n != nil {
		outer = n.Policy
	}
	for _, e := range p.names {
		if !outer.coversName(e) {
			entries = append(entries, e.text)
		}
	}
	for _, e := range p.prefixes {
		if outer == nil || !outer.coversPrefix(e, n.leastOf(e.prefix)) {
			entries = append(entries, e.text)
		}
	}
	return entries
}

func (p *Policy) coversName(e nameEntry) bool {
	return p != nil && slices.ContainsFunc(p.names, func(outer nameEntry) bool {
		covers := outer.name == e.name && outer.below == e.below
		if outer.below && !covers {
			covers = outer.name == "" || strings.HasSuffix(e.name, "."+outer.name)
		}
		return covers && (outer.port == anyPort || outer.port == e.port)
	})
}

func (p *Policy) coversPrefix(e prefixEntry, least int) bool {
	return slices.ContainsFunc(p.prefixes, func(outer prefixEntry) bool {
		return outer.prefix.Bits() <= e.prefix.Bits() && outer.prefix.Bits() >= least && outer.prefix.Contains(e.prefix.Addr()) &&
			(outer.port == anyPort || outer.port == e.port)
	})
}

// leastOf is leastPrefix of the addresses of a prefix: that of the narrowest network,
// of those that are not public, which it lies in.
func (n *Network) leastOf(p netip.Prefix) (least int) {
	if p.Bits() == p.Addr().BitLen() {
		least, _ = n.leastPrefix(p.Addr())
		return least
	}
	for _, s := range special {
		if s.Bits() <= p.Bits() && s.Contains(p.Addr()) {
			least = max(least, s.Bits())
		}
	}
	return least
}

// both returns the ports that two lists of ports have in common.
func both(a, b []uint16) (ports []uint16) {
	for _, x := range a {
		for _, y := range b {
			port := x
			if x == anyPort {
				port = y
			}
			if (x == y || x == anyPort || y == anyPort) && !slices.Contains(ports, port) {
				ports = append(ports, port)
			}
		}
	}
	return ports
}

// portsOf is Policy.portsOf as far as the instance's own list allows it too.
func (i *Instance) portsOf(name string) []uint16 {
	ports := i.n.Policy.portsOf(name)
	if i.within == nil || len(ports) == 0 {
		return ports
	}
	return both(ports, i.within.portsOf(name))
}

// names reports whether an entry names the address, and one of the instance's own list
// too.
func (i *Instance) names(a netip.Addr, port uint16, least int) bool {
	return i.n.Policy.allows(a, port, least) && (i.within == nil || i.within.allows(a, port, least))
}
