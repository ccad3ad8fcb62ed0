package functionapi

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"

	"seuss/dispatcher/chain"
	"seuss/dispatcher/state"
	"seuss/guest"
)

// A frame is a request that is answered in the exit with which it comes, and its answer: what
// the modules ask most, without HTTP and JSON. guest/abi/driver.h says what is where (ABI_ASK_*).
// What has to wait, or is too large, is answered with ABI_ASK_LATER: it is to be asked by HTTP,
// and nothing of it was done.

// frame is a request that was taken apart.
type frame struct {
	what      byte
	key       string
	at        uint64 // offset, lease or time
	version   uint64
	token     uint64
	thread    uint64
	condition state.If
	shared    bool
	show      bool
	value     []byte
}

var errFrame = fmt.Errorf("a request that is none: %w", ErrInvalid)

func parseFrame(p []byte) (f frame, err error) {
	if len(p) < guest.AskHead {
		return f, fmt.Errorf("%d bytes, its head has %d: %w", len(p), guest.AskHead, errFrame)
	}
	le := binary.LittleEndian
	version, flags, key := p[0], le.Uint16(p[2:]), le.Uint32(p[4:])
	f = frame{what: p[1], at: le.Uint64(p[8:]), version: le.Uint64(p[16:]), token: le.Uint64(p[24:]), thread: le.Uint64(p[32:])}
	rest := p[guest.AskHead:]
	switch {
	case version != guest.AskVersion:
		return f, fmt.Errorf("it is of version %d, and not %d: %w", version, guest.AskVersion, errFrame)
	case flags&^(guest.AskIf|guest.AskShared|guest.AskShow) != 0:
		return f, fmt.Errorf("flags %#x: %w", flags, errFrame)
	case uint64(key) > uint64(len(rest)):
		return f, fmt.Errorf("a key of %d bytes in %d: %w", key, len(rest), errFrame)
	case f.at > 1<<62 || f.version > 1<<62:
		return f, fmt.Errorf("a number above 2^62: %w", errFrame)
	}
	f.key, f.value, f.shared, f.show = string(rest[:key]), rest[key:], flags&guest.AskShared != 0, flags&guest.AskShow != 0
	if f.condition.Fence = f.token; flags&guest.AskIf != 0 {
		f.condition.Version = &f.version
	}
	return f, nil
}

// reply is what a frame is answered with.
type reply struct {
	how           byte
	size, version uint64
	place         state.Place
	body          []byte
	sent          func() // is called once the answer is written; nil: nothing is to be done
}

var later = reply{how: guest.AskLater}

// write writes it; where there is no room for it, that it is to be asked by HTTP.
func (r *reply) write(to []byte) int {
	if guest.AskHead+len(r.body) > len(to) {
		*r = later
	}
	if len(to) < guest.AskHead {
		return 0
	}
	clear(to[:guest.AskHead])
	to[0], to[1] = guest.AskVersion, r.how
	binary.LittleEndian.PutUint64(to[8:], r.size)
	binary.LittleEndian.PutUint64(to[16:], r.version)
	binary.LittleEndian.PutUint64(to[24:], r.place.At)
	binary.LittleEndian.PutUint64(to[32:], r.place.ID)
	n := guest.AskHead + copy(to[guest.AskHead:], r.body)
	if r.sent != nil {
		r.sent()
	}
	return n
}

// Answer answers a request in the exit with which it came, and returns how many bytes of answer
// that has taken: it is a vmm.APIFunc. It does not wait.
func (s *Server) Answer(request, answer []byte) int {
	f, err := parseFrame(request)
	if err != nil {
		r := refused(err)
		return r.write(answer)
	}
	if len(answer) < guest.AskHead+minRoom {
		r := later // else what was done could not be told
		return r.write(answer)
	}
	r := s.frame(&f, len(answer)-guest.AskHead)
	return r.write(answer)
}

// minRoom is the room for the body of an answer without which nothing is done: errors and ids fit.
const minRoom = 2048

// refused is the answer to what was not done. A message that is too long for it, as one that lists
// all shares of a function may be, is told by HTTP.
func refused(err error) reply {
	a := failed(err)
	if len(a.Body) > minRoom {
		return later
	}
	return reply{how: guest.AskFailed, body: a.Body}
}

func about(m state.Meta, err error) reply {
	if err != nil {
		return refused(err)
	}
	return reply{size: uint64(m.Size), version: m.Version}
}

func (s *Server) frame(f *frame, room int) reply {
	switch f.what {
	case guest.AskCall, guest.AskResult:
		caller, err := s.calls.get()
		if err != nil {
			return refused(err)
		}
		return f.call(caller, room)
	}
	session, err := s.session.get()
	if err != nil {
		return refused(err)
	}
	return f.state(session, room)
}

func (f *frame) state(s *state.Session, room int) reply {
	switch f.what {
	case guest.AskGet, guest.AskRange:
		at, n := int64(0), int64(-1)
		if f.what == guest.AskRange {
			at, n = int64(f.at), int64(f.version)
		}
		return f.read(s, at, n, room)
	case guest.AskStat:
		return about(s.Stat(f.key))
	case guest.AskSet:
		return about(s.Set(f.key, f.value, f.condition))
	case guest.AskSetRange:
		return about(s.SetRange(f.key, int64(f.at), f.value, f.condition))
	case guest.AskAppend:
		return about(s.Append(f.key, f.value, f.condition))
	case guest.AskDelete:
		return about(state.Meta{}, s.Delete(f.key, f.condition))
	case guest.AskLock, guest.AskRenew:
		return f.lock(s)
	case guest.AskUnlock:
		return about(state.Meta{}, s.Unlock(f.key, f.token))
	}
	return refused(fmt.Errorf("request %d: %w", f.what, errFrame))
}

// read reads a value, or a range of it, if that is no longer than there is room for.
func (f *frame) read(s *state.Session, at, n int64, room int) reply {
	if n < 0 || n > int64(room) {
		n = int64(room) + 1
	}
	p, m, err := s.Get(f.key, at, n)
	switch {
	case err != nil:
		return refused(err)
	case len(p) > room:
		return later
	}
	r := about(m, nil)
	if r.body = p; f.show {
		r.place = s.Show(f.key)
	}
	return r
}

// lock takes a lock that is free, or gives one that is held another lease.
func (f *frame) lock(s *state.Session) reply {
	if f.at > uint64(maxWait/time.Millisecond) {
		return refused(fmt.Errorf("lease_ms=%d: at most %d: %w", f.at, maxWait/time.Millisecond, ErrInvalid))
	}
	lease := time.Duration(f.at) * time.Millisecond
	var g state.Grant
	var err error
	if f.what == guest.AskRenew {
		g, err = s.Renew(f.key, f.token, lease)
	} else {
		turn, asked := s.Ask(f.key, f.shared, lease, f.thread)
		if err = asked; err == nil {
			select {
			case <-turn.Done():
				g, err = turn.Grant()
			default:
				if _, err = turn.Wait(expired); err != nil { // it does not wait, and holds no place
					return later
				}
				g, err = turn.Grant()
			}
		}
	}
	if err != nil {
		return refused(err)
	}
	return reply{size: uint64(max(time.Until(g.Until).Milliseconds(), 0)), version: g.Token}
}

// call begins a call, or tells the result of one that is over.
func (f *frame) call(c *chain.Caller, room int) reply {
	if f.what == guest.AskCall {
		if f.at > uint64(maxWait/time.Millisecond) {
			return refused(fmt.Errorf("timeout_ms=%d: at most %d: %w", f.at, maxWait/time.Millisecond, ErrInvalid))
		}
		id, err := c.Call(f.key, bytes.Clone(f.value), chain.Ask{Within: time.Duration(f.at) * time.Millisecond})
		if err != nil {
			return refused(err)
		}
		return reply{body: []byte(id)}
	}
	if !c.Done(f.key) {
		return later
	}
	a := result(c.Result(expired, f.key))
	switch {
	case len(a.Body) > room:
		return later // it was not told
	case a.Status >= 400:
		return reply{how: guest.AskFailed, body: a.Body, sent: a.sent}
	}
	return reply{body: a.Body, sent: a.sent}
}
