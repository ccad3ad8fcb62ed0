package functionapi

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"testing"

	"seuss/dispatcher/chain"
	"seuss/dispatcher/state"
	"seuss/guest"
	"seuss/vmm"
)

var _ vmm.APIFunc = func(request, answer []byte) (int, bool) { return (&Server{}).Answer(request, answer), true }

func newFrame(what byte, flags uint16, key, value string, numbers ...uint64) []byte {
	le := binary.LittleEndian
	p := le.AppendUint16([]byte{guest.AskVersion, what}, flags)
	p = le.AppendUint32(p, uint32(len(key)))
	for i := range 4 {
		n := uint64(0)
		if i < len(numbers) {
			n = numbers[i]
		}
		p = le.AppendUint64(p, n)
	}
	return append(append(p, key...), value...)
}

// framed asks a server, and returns what a test looks at.
func framed(t *testing.T, s *Server, request []byte, room int) (how byte, size, version uint64, body string) {
	t.Helper()
	answer := bytes.Repeat([]byte{0xee}, room)
	n := s.Answer(request, answer)
	if n < guest.AskHead || n > room || answer[0] != guest.AskVersion {
		t.Fatalf("%d bytes of answer in %d, version %d", n, room, answer[0])
	}
	return answer[1], binary.LittleEndian.Uint64(answer[8:]), binary.LittleEndian.Uint64(answer[16:]), string(answer[guest.AskHead:n])
}

func frameServer(t *testing.T, store *state.Store, name string) *Server {
	s := New(func() (*state.Session, error) {
		return store.Open(state.Who{Owner: "o", Function: "f", Request: name, Rights: state.Rights{"a": state.Write, "r": state.Read}})
	}, nil, func() (*chain.Caller, error) { return nil, chain.ErrForbidden })
	t.Cleanup(s.Close)
	return s
}

// TestFrames: what a frame asks is done as over HTTP, and what has to wait is not done at all.
func TestFrames(t *testing.T) {
	store := state.New(state.Options{})
	defer store.Close()
	s, other := frameServer(t, store, "one"), frameServer(t, store, "two")
	const room = 4096
	ask := func(want string, request []byte) (version uint64) {
		t.Helper()
		how, size, version, body := framed(t, s, request, room)
		var p Problem
		if how == guest.AskFailed && json.Unmarshal([]byte(body), &p) == nil {
			body = p.Error
		}
		if got := fmt.Sprint(how, " ", size, " ", body); got != want {
			t.Errorf("%q: %q, want %q", request, got, want)
		}
		return version
	}
	ask("2 0 NotFound", newFrame(guest.AskGet, 0, "a/k", ""))
	first := ask("0 5 ", newFrame(guest.AskSet, 0, "a/k", "hello"))
	ask("0 5 hello", newFrame(guest.AskGet, 0, "a/k", ""))
	ask("0 5 ell", newFrame(guest.AskRange, 0, "a/k", "", 1, 3))
	ask("0 8 ", newFrame(guest.AskAppend, guest.AskIf, "a/k", "you", 0, first))
	ask("2 0 Changed", newFrame(guest.AskAppend, guest.AskIf, "a/k", "you", 0, first))
	ask("0 8 ", newFrame(guest.AskSetRange, 0, "a/k", "J", 0))
	ask("0 8 Jelloyou", newFrame(guest.AskGet, 0, "a/k", ""))
	ask("2 0 Forbidden", newFrame(guest.AskSet, 0, "r/k", ""))
	ask("2 0 Forbidden", newFrame(guest.AskGet, 0, "x/k", ""))
	ask("2 0 Invalid", newFrame(guest.AskSetRange, 0, "a/k", "J", 1<<63))
	ask("2 0 Forbidden", newFrame(guest.AskCall, 0, "g", "{}"))
	ask("2 0 Invalid", newFrame(0xff, 0, "a/k", ""))
	ask("2 0 Invalid", newFrame(guest.AskGet, 0x80, "a/k", ""))
	ask("0 0 ", newFrame(guest.AskDelete, 0, "a/k", ""))
	ask("2 0 NotFound", newFrame(guest.AskStat, 0, "a/k", ""))

	large := bytes.Repeat([]byte{'x'}, room) // there is no room for it and the head
	ask("0 4096 ", newFrame(guest.AskSet, 0, "a/l", string(large)))
	ask("1 0 ", newFrame(guest.AskGet, 0, "a/l", ""))
	ask("0 4096 xx", newFrame(guest.AskRange, 0, "a/l", "", 4094, 100))

	how, _, token, _ := framed(t, s, newFrame(guest.AskLock, 0, "a/lock", "", 60000), room)
	if how != guest.AskDone || token == 0 {
		t.Fatalf("a free lock: %d, token %d", how, token)
	}
	if how, _, _, body := framed(t, other, newFrame(guest.AskLock, 0, "a/lock", "", 60000), room); how != guest.AskLater {
		t.Errorf("a lock that is held: %d %q", how, body)
	}
	ask("0 0 ", newFrame(guest.AskSet, 0, "a/lock", "", 0, 0, token))
	ask("0 0 ", newFrame(guest.AskUnlock, 0, "a/lock", "", 0, 0, token))
	ask("2 0 NotHeld", newFrame(guest.AskUnlock, 0, "a/lock", "", 0, 0, token))
	ask("2 0 Fenced", newFrame(guest.AskSet, 0, "a/lock", "", 0, 0, token))
	if how, _, _, _ := framed(t, other, newFrame(guest.AskLock, guest.AskShared, "a/lock", ""), room); how != guest.AskDone {
		t.Errorf("a lock that was given back: %d", how)
	}
	// Who has no room for what was done does nothing.
	if how, _, _, _ := framed(t, s, newFrame(guest.AskSet, 0, "a/small", "x"), guest.AskHead); how != guest.AskLater {
		t.Errorf("without room: %d", how)
	}
	ask("2 0 NotFound", newFrame(guest.AskGet, 0, "a/small", ""))
	if n := s.Answer(newFrame(guest.AskGet, 0, "a/k", ""), make([]byte, guest.AskHead-1)); n != 0 {
		t.Errorf("%d bytes where there is no room", n)
	}
}

func FuzzFrame(f *testing.F) {
	f.Add(newFrame(guest.AskSet, guest.AskIf, "a/k", "value", 1, 2, 3, 4), uint16(4096))
	f.Add(newFrame(guest.AskLock, guest.AskShared, "a/k", "", 1000), uint16(64))
	f.Add([]byte{guest.AskVersion}, uint16(0))
	f.Fuzz(func(t *testing.T, request []byte, room uint16) {
		store := state.New(state.Options{Bytes: 1 << 20})
		defer store.Close()
		s := frameServer(t, store, "fuzz")
		answer := make([]byte, room)
		if n := s.Answer(request, answer); n > len(answer) || n > 0 && (n < guest.AskHead || answer[0] != guest.AskVersion || answer[1] > guest.AskFailed) {
			t.Errorf("%d bytes in %d: %q", n, len(answer), answer[:min(n, 40)])
		}
	})
}

// TestFrameLongError: an error that a frame has no room for is told by HTTP, and keeps its class.
func TestFrameLongError(t *testing.T) {
	store := state.New(state.Options{})
	defer store.Close()
	rights := state.Rights{}
	for n := range state.MaxShares {
		rights[fmt.Sprintf("%064d", n)] = state.Write
	}
	s := New(func() (*state.Session, error) {
		return store.Open(state.Who{Owner: "o", Function: "f", Request: "r", Rights: rights})
	}, nil, func() (*chain.Caller, error) { return nil, chain.ErrForbidden })
	defer s.Close()
	if how, _, _, body := framed(t, s, newFrame(guest.AskGet, 0, "x/k", ""), 8192); how != guest.AskLater {
		t.Errorf("%d %.100q", how, body)
	}
}
