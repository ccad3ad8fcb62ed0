package server

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"net/http"
	"time"

	"seuss/dispatcher/api"
)

// firstBody is the memory that a body gets before anything of it has come.
const firstBody = 4 << 10

// ReadBody reads a body of at most limit bytes. Its memory grows with what has
// come, whatever its head announces, and counts among the bodies of all requests
// until this one is answered.
func ReadBody(r *http.Request, limit int64, operation string) ([]byte, error) {
	if r.ContentLength > limit {
		return nil, TooLarge(limit, operation)
	}
	st := stateOf(r)
	if st != nil && st.body != nil {
		if int64(len(st.body)) > limit {
			return nil, TooLarge(limit, operation)
		}
		return st.body, nil
	}
	most := limit + 1 // one more tells that it is too large
	if r.ContentLength >= 0 {
		most = r.ContentLength + 1
	}
	var b []byte
	for {
		if len(b) == cap(b) {
			more := min(max(2*int64(cap(b)), firstBody), most)
			if n := more - int64(cap(b)); st != nil {
				if !st.server.bodies.TryAcquire(n) {
					return nil, errBodies
				}
				st.held += n
			}
			b = append(make([]byte, 0, more), b...)
		}
		n, err := r.Body.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if int64(len(b)) > limit {
			return nil, TooLarge(limit, operation)
		}
		if errors.Is(err, io.EOF) {
			return b, nil
		}
		if err != nil {
			var refusal *Refusal
			if errors.As(err, &refusal) {
				return nil, refusal
			}
			return nil, &Refusal{Status: http.StatusBadRequest, Code: api.LambdaContent, Message: "The request body could not be read: " + err.Error()}
		}
	}
}

var errBodies = &Refusal{Status: http.StatusTooManyRequests, Code: api.LambdaThrottled, Reason: "ConcurrentInvocationLimitExceeded", RetryAfter: time.Second,
	Message: "Rate Exceeded: the bodies of the requests that are being read take all memory that there is for them"}

// DefaultBodyStall is how long a body may stand still.
const DefaultBodyStall = 10 * time.Second

// bodyTimeout is for all of a body.
const bodyTimeout = 2 * time.Minute

// timedBody ends a body that does not come. The deadline is taken back at its
// end: the connection is read on while the function runs, to notice a client
// that goes away.
type timedBody struct {
	io.ReadCloser
	control *http.ResponseController
	end     time.Time
	stall   time.Duration
}

func (b *timedBody) Read(p []byte) (int, error) {
	deadline := time.Now().Add(b.stall)
	if b.end.Before(deadline) {
		deadline = b.end
	}
	b.control.SetReadDeadline(deadline) // a writer of tests has none
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		b.control.SetReadDeadline(time.Time{})
	}
	return n, err
}

// AllowBody gives a request's body another time in which it has to come whole.
func AllowBody(r *http.Request, timeout time.Duration) {
	if st := stateOf(r); st != nil && st.timed != nil {
		st.timed.end = time.Now().Add(timeout)
	}
}

// digestBody is a body whose digest was announced, and signed: it ends in an error
// if it is another one.
type digestBody struct {
	io.ReadCloser
	sum  hash.Hash
	want string // SHA-256, hex
}

func newDigestBody(body io.ReadCloser, want string) *digestBody {
	return &digestBody{body, sha256.New(), want}
}

func (b *digestBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.sum.Write(p[:n])
	if errors.Is(err, io.EOF) && hex.EncodeToString(b.sum.Sum(nil)) != b.want {
		err = errDigest
	}
	return n, err
}

var errDigest = &Refusal{Status: http.StatusBadRequest, Code: "XAmzContentSHA256Mismatch",
	Message: "The provided 'x-amz-content-sha256' header does not match what was computed."}
