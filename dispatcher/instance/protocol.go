package instance

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"seuss/guest"
)

// maxFrame bounds what the driver may announce: a result and some room for an
// error's stack trace.
const maxFrame = guest.ResultBytes + 1<<20

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
		return frame{}, b, false, fmt.Errorf("%w: it announces %d bytes, at most %d are allowed", ErrProtocol, n, maxFrame)
	}
	end := guest.FrameHeader + int(n)
	if len(b) < end {
		return frame{}, b, false, nil
	}
	return frame{kind: b[guest.FrameHeader-1], payload: b[guest.FrameHeader:end]}, b[end:], true, nil
}

// Want is the driver's question for an argument.
type Want struct {
	Key     string
	All     bool // the whole event
	Context bool // the function has read its context
	Random  bool // it has drawn from the runtime's random generators
}

func decodeWant(payload []byte) (Want, error) {
	if len(payload) == 0 {
		return Want{}, fmt.Errorf("%w: WANT without flags", ErrProtocol)
	}
	flags := payload[0]
	w := Want{
		Key:     string(payload[1:]),
		All:     flags&guest.WantAll != 0,
		Context: flags&guest.WantContext != 0,
		Random:  flags&guest.WantRandom != 0,
	}
	if flags&^(guest.WantAll|guest.WantContext|guest.WantRandom) != 0 {
		return Want{}, fmt.Errorf("%w: WANT with flags %#x", ErrProtocol, flags)
	}
	return w, nil
}

// decodeError reads the driver's error document. A document that cannot be
// read is still an error of the function's.
func decodeError(payload []byte) *HandlerError {
	e := &HandlerError{}
	if err := json.Unmarshal(payload, e); err != nil || e.Type == "" {
		return &HandlerError{Type: "Runtime.Unknown", Message: "the runtime reported an error that cannot be read"}
	}
	return e.Bounded()
}

// Bounded cuts what of an error is longer than errors may be, and returns it.
func (e *HandlerError) Bounded() *HandlerError {
	e.Type, e.Message = Cut(e.Type, maxErrorType), Cut(e.Message, maxErrorText)
	e.StackTrace, e.Trace = cutLines(e.StackTrace), cutLines(e.Trace)
	return e
}

// Bounds of an error: it goes into answers, logs and traces.
const (
	maxErrorType  = 256
	maxErrorText  = 256 << 10 // bytes of the message, and of all lines of the stack trace
	maxErrorLines = 1024
	cutNote       = 64 // bytes at most of the note that something was cut
)

// Cut returns a text of which no more than limit bytes are left, with a note that says so
// where that is not all of it.
func Cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	for limit > 0 && !utf8.RuneStart(text[limit]) {
		limit--
	}
	return fmt.Sprintf("%s [%d bytes were cut]", text[:limit], len(text)-limit)
}

// cutLines is Cut for a stack trace.
func cutLines(lines []string) []string {
	left := maxErrorText
	for n, line := range lines {
		if left -= len(line); n == maxErrorLines || left < 0 {
			return append(lines[:n:n], fmt.Sprintf("[%d lines were cut]", len(lines)-n))
		}
	}
	return lines
}

// HandlerError is what a function did wrong, in the form that AWS Lambda gives it and
// drivers send. It wraps what ended the instance where that is why.
type HandlerError struct {
	Type       string   `json:"errorType"`
	Message    string   `json:"errorMessage"`
	StackTrace []string `json:"stackTrace"`
	// Trace is in its place where the runtime writes that.
	Trace []string `json:"trace,omitempty"`
	Cause error    `json:"-"`
}

// MarshalJSON writes the field that the function's runtime writes.
func (e HandlerError) MarshalJSON() ([]byte, error) {
	if e.Trace == nil {
		return json.Marshal(struct {
			Type       string   `json:"errorType"`
			Message    string   `json:"errorMessage"`
			StackTrace []string `json:"stackTrace"`
		}{e.Type, e.Message, e.StackTrace})
	}
	return json.Marshal(struct {
		Type    string   `json:"errorType"`
		Message string   `json:"errorMessage"`
		Trace   []string `json:"trace"`
	}{e.Type, e.Message, e.Trace})
}

func (e *HandlerError) Error() string { return e.Type + ": " + e.Message }
func (e *HandlerError) Unwrap() error { return e.Cause }
