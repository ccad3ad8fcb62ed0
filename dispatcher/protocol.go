package dispatcher

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"seuss/guest"
)

// errProtocol: the driver's stream holds what no driver sends. The guest is
// hostile, and its instance over.
var errProtocol = errors.New("malformed message from the guest's driver")

// maxFrame bounds what the driver may announce: a result and some room for an
// error's stack trace.
const maxFrame = MaxResultBytes + 1<<20

// frame is one message of the driver protocol (guest/abi/driver.h).
type frame struct {
	kind    uint8
	payload []byte
}

// appendHeader appends a frame's header for a payload of n bytes.
func appendHeader(b []byte, kind uint8, n int) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(n))
	return append(b, kind)
}

// decodeFrame takes the first frame off b. It returns ok false if b does not
// hold a whole one yet. The payload is a part of b.
func decodeFrame(b []byte) (f frame, rest []byte, ok bool, err error) {
	if len(b) < guest.FrameHeader {
		return frame{}, b, false, nil
	}
	n := binary.LittleEndian.Uint32(b)
	if n > maxFrame {
		return frame{}, b, false, fmt.Errorf("%w: it announces %d bytes, at most %d are allowed", errProtocol, n, maxFrame)
	}
	end := guest.FrameHeader + int(n)
	if len(b) < end {
		return frame{}, b, false, nil
	}
	return frame{kind: b[guest.FrameHeader-1], payload: b[guest.FrameHeader:end]}, b[end:], true, nil
}

// want is the driver's question for an argument.
type want struct {
	key     string
	all     bool // the whole event
	context bool // the function has read its context
	random  bool // it has drawn from the runtime's random generators
}

func decodeWant(payload []byte) (want, error) {
	if len(payload) == 0 {
		return want{}, fmt.Errorf("%w: WANT without flags", errProtocol)
	}
	flags := payload[0]
	w := want{
		key:     string(payload[1:]),
		all:     flags&guest.WantAll != 0,
		context: flags&guest.WantContext != 0,
		random:  flags&guest.WantRandom != 0,
	}
	if flags&^(guest.WantAll|guest.WantContext|guest.WantRandom) != 0 {
		return want{}, fmt.Errorf("%w: WANT with flags %#x", errProtocol, flags)
	}
	return w, nil
}

// decodeError reads the driver's error document. A document that cannot be
// read is still an error of the function's.
func decodeError(payload []byte) *FunctionError {
	e := &FunctionError{}
	if err := json.Unmarshal(payload, e); err != nil || e.Type == "" {
		return &FunctionError{Type: "Runtime.Unknown", Message: "the runtime reported an error that cannot be read"}
	}
	return e
}
