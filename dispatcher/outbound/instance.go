package outbound

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"seuss/guest"
	"seuss/vmm/vsock"
)

var (
	errNothing = errors.New("nothing outside may be reached")
	errFull    = errors.New("too many streams")
)

// Instance is one invocation's way out. It ends with the invocation.
type Instance struct {
	n       *Network // nil: no way out
	within  *Policy  // the function's own list; nil: it has none
	name    string   // for the log
	places  Share    // of streams
	lookups Share
	ctx     context.Context
	end     context.CancelFunc
	wg      sync.WaitGroup
	// underWay has one for each question that is being answered.
	underWay chan struct{}

	mu      sync.Mutex
	done    bool
	streams map[*vsock.Conn]*vsock.Stream
	granted map[netip.Addr][]uint16 // what names have led to, and its ports
	noted   map[string]uint32       // refusals
}

// Open makes an instance of a function, within b; of a nil Network it is one that nothing
// is allowed to. name is what the log calls it.
func (n *Network) Open(name, function string, b *Budgets) *Instance {
	i := &Instance{name: name, places: b.Streams.Share(function), lookups: b.Lookups.Share(function)}
	if n != nil && n.Policy != nil {
		i.n = n
		i.ctx, i.end = context.WithCancel(context.Background())
	}
	return i
}

// Accept takes a stream to guest.NetPort: it is a vsock.AcceptFunc.
func (i *Instance) Accept(c *vsock.Conn) error {
	if i.n == nil {
		i.note("any address (nothing is allowed)")
		return errNothing
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case i.done:
		return errNothing
	case len(i.streams) >= 2*maxStreams:
		return errFull
	}
	if err := i.places.Take(); err != nil { // a guest that reads the answer knows why
		i.noteLocked("a stream: " + err.Error())
		defer c.Close()
		return c.Send(status(syscall.ENOBUFS))
	}
	if i.streams == nil {
		i.streams, i.underWay = map[*vsock.Conn]*vsock.Stream{}, make(chan struct{}, maxUnderWay)
	}
	s := vsock.NewStream(c)
	i.streams[c] = s
	i.wg.Go(func() {
		i.serve(c, s)
		i.places.Give()
		i.mu.Lock()
		defer i.mu.Unlock()
		delete(i.streams, c)
	})
	return nil
}

// Places is the instance's share of the streams that guests may have.
func (i *Instance) Places() *Share { return &i.places }

// Close ends all connections. What the guest had sent is still passed on, for a
// second at most. It returns the addresses and names that were refused, with how
// often.
func (i *Instance) Close() map[string]uint32 {
	if i.n != nil {
		i.mu.Lock()
		i.done = true
		for c, s := range i.streams {
			reset(c, s) // reading goes on to the end of what has arrived
		}
		i.mu.Unlock()
		i.end()
		i.wg.Wait()
	}
	return i.noted
}

// reset ends a stream, and wakes who waits for it.
func reset(c *vsock.Conn, s *vsock.Stream) {
	c.Reset()
	s.Close()
}

// note counts a refusal, and logs the first of its kind.
func (i *Instance) note(what string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.noteLocked(what)
}

func (i *Instance) noteLocked(what string) {
	if i.n != nil {
		i.n.refused.Add(1)
	}
	if i.noted == nil {
		i.noted = map[string]uint32{}
	}
	if _, known := i.noted[what]; !known && len(i.noted) >= maxNoted {
		what = "others"
	}
	if i.noted[what]++; i.noted[what] == 1 && i.n != nil {
		i.log().Info("not in the list of what may be reached", "request_id", i.name, "refused", what)
	}
}

func (i *Instance) log() *slog.Logger {
	if i.n.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return i.n.Log
}

// serve carries one stream from its request to its end.
func (i *Instance) serve(c *vsock.Conn, s *vsock.Stream) {
	var raw [guest.NetRequestSize]byte
	err := s.SetReadDeadline(time.Now().Add(requestTimeout))
	if err == nil {
		_, err = io.ReadFull(s, raw[:])
	}
	if err == nil {
		err = s.SetReadDeadline(time.Time{})
	}
	if err != nil {
		reset(c, s)
		return
	}
	r, ok := decodeRequest(raw)
	switch {
	case !ok:
		reset(c, s)
	case r.kind == guest.NetKindDatagram:
		i.datagrams(c, s)
	case r.to.Port() == guest.NetDnsPort:
		i.questions(c, s)
	default:
		i.connection(c, s, r.to)
	}
}

// request is what a stream begins with.
type request struct {
	kind uint8
	to   netip.AddrPort // of a connection
}

func decodeRequest(raw [guest.NetRequestSize]byte) (request, bool) {
	r := request{kind: raw[guest.NetRequestKind]}
	if raw[guest.NetRequestReserved] != 0 {
		return request{}, false
	}
	if r.kind == guest.NetKindDatagram {
		return r, true
	}
	a := netip.AddrFrom16([16]byte(raw[guest.NetRequestAddr:])).Unmap()
	r.to = netip.AddrPortFrom(a, binary.LittleEndian.Uint16(raw[guest.NetRequestPort:]))
	return r, r.kind == guest.NetKindStream
}

// status is the answer to a request for a connection.
func status(e syscall.Errno) []byte {
	return binary.LittleEndian.AppendUint32(nil, uint32(e))
}

// allowed reports whether the instance may connect to an address.
func (i *Instance) allowed(to netip.AddrPort) bool {
	least, ok := i.n.leastPrefix(to.Addr())
	if !ok || to.Port() == 0 {
		return false
	}
	if i.names(to.Addr(), to.Port(), least) {
		return true
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	ports := i.granted[to.Addr()]
	// The host may have got the address since the name was looked up.
	return least == 0 && (slices.Contains(ports, to.Port()) || slices.Contains(ports, anyPort))
}

// grant lets the instance connect to what an allowed name has led to; false: it
// has been given too many addresses already.
func (i *Instance) grant(a netip.Addr, ports []uint16) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.granted == nil {
		i.granted = map[netip.Addr][]uint16{}
	}
	had, known := i.granted[a]
	if !known && len(i.granted) >= maxGranted {
		return false
	}
	for _, p := range ports {
		if !slices.Contains(had, p) {
			had = append(had, p)
		}
	}
	i.granted[a] = had
	return true
}
