package functionapi

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"testing"

	"seuss/dispatcher/chain"
	"seuss/dispatcher/state"
	"seuss/vmm"
)

var _ vmm.APIFunc = func(request, answer []byte) (int, bool) { return (&Server{}).Answer(request, answer), true }

func newFrame(what byte, flags uint16, key, value string, numbers ...uint64) []byte {
	le := binary.LittleEndian
	p := le.AppendUint16([]byte{frameVersion, what}, flags)
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
	if n < frameAnswerBytes || n > room || answer[0] != frameVersion {
		t.Fatalf("%d bytes of answer in %d, version %d", n, room, answer[0])
	}
	return answer[1], binary.LittleEndian.Uint64(answer[8:]), binary.LittleEndian.Uint64(answer[16:]), string(answer[frameAnswerBytes:n])
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
		if how == frameFailed && json.Unmarshal([]byte(body), &p) == nil {
			body = p.Error
		}
		if got := fmt.Sprint(how, " ", size, " ", body); got != want {
			t.Errorf("%q: %q, want %q", request, got, want)
		}
		return version
	}
	ask("2 0 NotFound", newFrame(frameGet, 0, "a/k", ""))
	first := ask("0 5 ", newFrame(frameSet, 0, "a/k", "hello"))
	ask("0 5 hello", newFrame(frameGet, 0, "a/k", ""))
	ask("0 5 ell", newFrame(frameRange, 0, "a/k", "", 1, 3))
	ask("0 8 ", newFrame(frameAppend, frameIf, "a/k", "you", 0, first))
	ask("2 0 Changed", newFrame(frameAppend, frameIf, "a/k", "you", 0, first))
	ask("0 8 ", newFrame(frameSetRange, 0, "a/k", "J", 0))
	ask("0 8 Jelloyou", newFrame(frameGet, 0, "a/k", ""))
	ask("2 0 Forbidden", newFrame(frameSet, 0, "r/k", ""))
	ask("2 0 Forbidden", newFrame(frameGet, 0, "x/k", ""))
	ask("2 0 Invalid", newFrame(frameSetRange, 0, "a/k", "J", 1<<63))
	ask("2 0 Forbidden", newFrame(frameCall, 0, "g", "{}"))
	ask("2 0 Invalid", newFrame(0xff, 0, "a/k", ""))
	ask("2 0 Invalid", newFrame(frameGet, 0x80, "a/k", ""))
	ask("0 0 ", newFrame(frameDelete, 0, "a/k", ""))
	ask("2 0 NotFound", newFrame(frameStat, 0, "a/k", ""))

	large := bytes.Repeat([]byte{'x'}, room) // there is no room for it and the head
	ask("0 4096 ", newFrame(frameSet, 0, "a/l", string(large)))
	ask("1 0 ", newFrame(frameGet, 0, "a/l", ""))
	ask("0 4096 xx", newFrame(frameRange, 0, "a/l", "", 4094, 100))

	how, _, token, _ := framed(t, s, newFrame(frameLock, 0, "a/lock", "", 60000), room)
	if how != frameDone || token == 0 {
		t.Fatalf("a free lock: %d, token %d", how, token)
	}
	if how, _, _, body := framed(t, other, newFrame(frameLock, 0, "a/lock", "", 60000), room); how != frameLater {
		t.Errorf("a lock that is held: %d %q", how, body)
	}
	ask("0 0 ", newFrame(frameSet, 0, "a/lock", "", 0, 0, token))
	ask("0 0 ", newFrame(frameUnlock, 0, "a/lock", "", 0, 0, token))
	ask("2 0 NotHeld", newFrame(frameUnlock, 0, "a/lock", "", 0, 0, token))
	ask("2 0 Fenced", newFrame(frameSet, 0, "a/lock", "", 0, 0, token))
	if how, _, _, _ := framed(t, other, newFrame(frameLock, frameShared, "a/lock", ""), room); how != frameDone {
		t.Errorf("a lock that was given back: %d", how)
	}
	// Who has no room for what was done does nothing.
	if how, _, _, _ := framed(t, s, newFrame(frameSet, 0, "a/small", "x"), frameAnswerBytes); how != frameLater {
		t.Errorf("without room: %d", how)
	}
	ask("2 0 NotFound", newFrame(frameGet, 0, "a/small", ""))
	if n := s.Answer(newFrame(frameGet, 0, "a/k", ""), make([]byte, frameAnswerBytes-1)); n != 0 {
		t.Errorf("%d bytes where there is no room", n)
	}
}

func FuzzFrame(f *testing.F) {
	f.Add(newFrame(frameSet, frameIf, "a/k", "value", 1, 2, 3, 4), uint16(4096))
	f.Add(newFrame(frameLock, frameShared, "a/k", "", 1000), uint16(64))
	f.Add([]byte{frameVersion}, uint16(0))
	f.Fuzz(func(t *testing.T, request []byte, room uint16) {
		store := state.New(state.Options{Bytes: 1 << 20})
		defer store.Close()
		s := frameServer(t, store, "fuzz")
		answer := make([]byte, room)
		if n := s.Answer(request, answer); n > len(answer) || n > 0 && (n < frameAnswerBytes || answer[0] != frameVersion || answer[1] > frameFailed) {
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
	if how, _, _, body := framed(t, s, newFrame(frameGet, 0, "x/k", ""), 8192); how != frameLater {
		t.Errorf("%d %.100q", how, body)
	}
}
