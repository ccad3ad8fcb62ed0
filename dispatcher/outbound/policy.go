package outbound

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// ErrEntry means that an entry of the list cannot be read.
var ErrEntry = errors.New("want HOST:PORT, *.DOMAIN:PORT or CIDR:PORT, where PORT may be *")

// anyPort in a list of ports stands for all.
const anyPort = 0

// Policy is what guests may reach; nil is nothing.
type Policy struct {
	names    []nameEntry
	prefixes []prefixEntry
}

// Nothing is a Policy that allows nothing.
var Nothing = &Policy{}

type nameEntry struct {
	text  string // as it was given
	name  string // lower case, without a dot at the end
	below bool   // the names below it, not it itself; with an empty name all
	port  uint16
}

type prefixEntry struct {
	text   string
	prefix netip.Prefix
	port   uint16
}

// Parse reads a list of entries. Each is HOST:PORT (a name, or an address),
// *.DOMAIN:PORT (all names below a domain), *:PORT (all names) or CIDR:PORT. IPv6
// stands in brackets, as in [2001:db8::/32]:443. PORT is a number or *, all ports.
// No entries are a nil Policy.
func Parse(entries []string) (*Policy, error) {
	if len(entries) == 0 {
		return nil, nil
	}
	p := &Policy{}
	for _, e := range entries {
		if err := p.add(e); err != nil {
			return nil, fmt.Errorf("%q: %w", e, err)
		}
	}
	return p, nil
}

// Ports are the ports that entries name; any says that one names all.
func (p *Policy) Ports() (ports []uint16, any bool) {
	for _, n := range p.names {
		ports = append(ports, n.port)
	}
	for _, e := range p.prefixes {
		ports = append(ports, e.port)
	}
	slices.Sort(ports)
	ports = slices.Compact(ports)
	return ports, len(ports) > 0 && ports[0] == anyPort
}

func (p *Policy) add(entry string) error {
	at := strings.LastIndexByte(entry, ':')
	if at < 0 {
		return fmt.Errorf("no port: %w", ErrEntry)
	}
	host, portText := entry[:at], entry[at+1:]
	port := uint64(anyPort)
	if portText != "*" {
		var err error
		if port, err = strconv.ParseUint(portText, 10, 16); err != nil || port == 0 {
			return fmt.Errorf("port %q is not 1 to 65535 or *: %w", portText, ErrEntry)
		}
	}
	inner, brackets := strings.CutPrefix(host, "[")
	if brackets {
		var closed bool
		if host, closed = strings.CutSuffix(inner, "]"); !closed {
			return fmt.Errorf("no closing bracket: %w", ErrEntry)
		}
	}
	prefix, ok := parsePrefix(host)
	switch {
	case ok && prefix.Addr().Is6() != brackets:
		return fmt.Errorf("IPv6 stands in brackets, nothing else does: %w", ErrEntry)
	case ok && prefix != prefix.Masked():
		return fmt.Errorf("%s has bits set behind its length (did you mean %s?)", prefix, prefix.Masked())
	case ok:
		p.prefixes = append(p.prefixes, prefixEntry{entry, prefix, uint16(port)})
		return nil
	case brackets:
		return fmt.Errorf("%q is no IPv6 address or prefix: %w", host, ErrEntry)
	}
	e := nameEntry{text: entry, name: normal(host), port: uint16(port)}
	if host == "*" {
		e = nameEntry{text: entry, below: true, port: e.port}
	} else if e.name, e.below = strings.CutPrefix(e.name, "*."); !validName(e.name) {
		return fmt.Errorf("%q is no name, address or prefix: %w", host, ErrEntry)
	}
	p.names = append(p.names, e)
	return nil
}

func parsePrefix(s string) (netip.Prefix, bool) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" && !a.Is4In6() {
		return netip.PrefixFrom(a, a.BitLen()), true
	}
	prefix, err := netip.ParsePrefix(s)
	return prefix, err == nil && !prefix.Addr().Is4In6()
}

func normal(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// validName reports whether a normal name can be a host's (RFC 1123, with
// underscores, which are in use).
func validName(name string) bool {
	if len(name) == 0 || len(name) > 253 {
		return false
	}
	labels := strings.Split(name, ".")
	for _, l := range labels {
		if len(l) == 0 || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' {
			return false
		}
		for _, c := range []byte(l) {
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return false
			}
		}
	}
	last := labels[len(labels)-1]
	return last[0] < '0' || last[0] > '9' // else it is a misspelt address
}

// portsOf returns the ports that a normal name may be reached on; none means that
// the name is not allowed.
func (p *Policy) portsOf(name string) []uint16 {
	if p == nil || !validName(name) {
		return nil
	}
	var ports []uint16
	for _, e := range p.names {
		match := name == e.name
		if e.below {
			match = e.name == "" || strings.HasSuffix(name, "."+e.name)
		}
		if match && !slices.Contains(ports, e.port) {
			ports = append(ports, e.port)
		}
	}
	return ports
}

// allows reports whether an entry names the address for the port; port anyPort
// asks for any port at all. least is how long a prefix has to be to count.
func (p *Policy) allows(a netip.Addr, port uint16, least int) bool {
	if p == nil {
		return false
	}
	for _, e := range p.prefixes {
		if e.prefix.Contains(a) && e.prefix.Bits() >= least && (port == anyPort || e.port == anyPort || e.port == port) {
			return true
		}
	}
	return false
}
