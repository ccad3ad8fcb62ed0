package outbound

import (
	"context"
	"errors"
	"net"
	"net/netip"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	plainBytes = 512  // longest answer where the question names no size (RFC 1035, 4.2.1)
	maxUDP     = 1232 // and where it does, as resolvers have agreed on
	maxTCP     = 4096
	answerTTL  = 60 // seconds
	maxAnswers = 32
	maxExtra   = 16 // records in a question's additional section that are looked at
)

// resolve answers a DNS message for the guest; nil means not at all. The answer
// has at most limit bytes, or what the question allows.
func (i *Instance) resolve(query []byte, limit int) []byte {
	q, ok := parseQuestion(query)
	if !ok {
		return nil
	}
	i.n.questions.Add(1)
	if limit > maxUDP {
		q.room = limit // TCP
	}
	addrs, code := i.addresses(&q)
	return q.answer(addrs, code)
}

// question is what a DNS message asks.
type question struct {
	header dnsmessage.Header
	q      dnsmessage.Question
	one    bool // there is exactly one question
	edns   bool
	room   int // bytes that the answer may have
}

// parseQuestion reads a message of a guest; false: it is none that has an answer.
func parseQuestion(b []byte) (question, bool) {
	var p dnsmessage.Parser
	h, err := p.Start(b)
	if err != nil || h.Response {
		return question{}, false
	}
	q := question{header: h, room: plainBytes}
	if q.q, err = p.Question(); err != nil {
		return q, true
	}
	if err := p.SkipQuestion(); !errors.Is(err, dnsmessage.ErrSectionDone) {
		return q, true
	}
	q.one = true
	if p.SkipAllAnswers() != nil || p.SkipAllAuthorities() != nil {
		return q, true
	}
	for range maxExtra {
		r, err := p.AdditionalHeader()
		if err != nil {
			break
		}
		if r.Type == dnsmessage.TypeOPT {
			q.edns = true
			q.room = min(max(int(r.Class), plainBytes), maxUDP)
		}
		if p.SkipAdditional() != nil {
			break
		}
	}
	return q, true
}

// addresses looks the question's name up, and lets the instance connect to what it
// leads to.
func (i *Instance) addresses(q *question) ([]netip.Addr, dnsmessage.RCode) {
	if !q.one {
		return nil, dnsmessage.RCodeFormatError
	}
	if q.header.OpCode != 0 {
		return nil, dnsmessage.RCodeNotImplemented
	}
	name := normal(q.q.Name.String())
	ports := i.portsOf(name)
	if len(ports) == 0 || q.q.Class != dnsmessage.ClassINET {
		i.note("name " + printable(name))
		return nil, dnsmessage.RCodeRefused
	}
	if q.q.Type != dnsmessage.TypeA && q.q.Type != dnsmessage.TypeAAAA {
		return nil, dnsmessage.RCodeSuccess // the name is there, it has no such records
	}
	ctx, cancel := context.WithTimeout(i.ctx, lookupTimeout)
	defer cancel()
	if err := i.lookups.Wait(ctx); err != nil {
		i.note("a lookup: " + err.Error())
		return nil, dnsmessage.RCodeServerFailure
	}
	defer i.lookups.Give()
	found, err := i.n.Resolver.LookupNetIP(ctx, "ip", name+".") // no search list
	var dns *net.DNSError
	if errors.As(err, &dns) && dns.IsNotFound {
		return nil, dnsmessage.RCodeNameError
	}
	if err != nil {
		i.log().Info("a name could not be looked up", "request_id", i.name, "name", name, "error", err)
		return nil, dnsmessage.RCodeServerFailure
	}
	return i.grantFound(name, ports, found, q.q.Type)
}

// grantFound picks the addresses of a name that may be used.
func (i *Instance) grantFound(name string, ports []uint16, found []netip.Addr, kind dnsmessage.Type) ([]netip.Addr, dnsmessage.RCode) {
	var good []netip.Addr
	hidden := false
	for _, a := range found {
		a = a.Unmap().WithZone("")
		if a.Is4() != (kind == dnsmessage.TypeA) || len(good) == maxAnswers {
			continue
		}
		least, ok := i.n.leastPrefix(a)
		listed := ok && i.names(a, anyPort, least)
		if !listed && (!ok || least > 0) {
			// A name must not lead into the host or its networks.
			i.note(name + " is " + a.String() + ", which no entry names")
			hidden = true
			continue
		}
		if !i.n.HasRoute(a) {
			continue
		}
		if least == 0 && !i.grant(a, ports) {
			return nil, dnsmessage.RCodeServerFailure
		}
		good = append(good, a)
	}
	if hidden && len(good) == 0 {
		return nil, dnsmessage.RCodeRefused
	}
	return good, dnsmessage.RCodeSuccess
}

// printable is a guest's text as it may stand in a log.
func printable(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c <= ' ' || c > '~' {
			b[i] = '?'
		}
	}
	return string(b)
}

// answer makes the DNS message; one that is too long says so and has no addresses.
func (q *question) answer(addrs []netip.Addr, code dnsmessage.RCode) []byte {
	for {
		b, err := q.build(addrs, code, false)
		if err == nil && len(b) > q.room && len(addrs) > 0 {
			b, err = q.build(nil, code, true)
		}
		if err == nil {
			return b
		}
		if len(addrs) == 0 {
			return nil
		}
		addrs, code = nil, dnsmessage.RCodeServerFailure
	}
}

func (q *question) build(addrs []netip.Addr, code dnsmessage.RCode, truncated bool) ([]byte, error) {
	h := dnsmessage.Header{ID: q.header.ID, Response: true, OpCode: q.header.OpCode, RecursionDesired: q.header.RecursionDesired,
		RecursionAvailable: true, Truncated: truncated, RCode: code}
	b := dnsmessage.NewBuilder(nil, h)
	b.EnableCompression()
	err := b.StartQuestions()
	if q.one && err == nil {
		err = b.Question(q.q)
	}
	if err == nil {
		err = b.StartAnswers()
	}
	record := dnsmessage.ResourceHeader{Name: q.q.Name, Class: dnsmessage.ClassINET, TTL: answerTTL}
	for _, a := range addrs {
		if err != nil {
			break
		}
		if a.Is4() {
			err = b.AResource(record, dnsmessage.AResource{A: a.As4()})
		} else {
			err = b.AAAAResource(record, dnsmessage.AAAAResource{AAAA: a.As16()})
		}
	}
	if err == nil {
		err = b.StartAdditionals()
	}
	if q.edns && err == nil {
		var opt dnsmessage.ResourceHeader
		if err = opt.SetEDNS0(maxUDP, dnsmessage.RCodeSuccess, false); err == nil {
			err = b.OPTResource(opt, dnsmessage.OPTResource{})
		}
	}
	if err != nil {
		return nil, err
	}
	return b.Finish()
}
