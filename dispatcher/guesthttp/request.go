package guesthttp

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
)

// MaxHead bounds a request's header, and its trailers, in bytes.
const MaxHead = 64 << 10

// ErrTooLarge: a request's body is larger than is taken.
var ErrTooLarge = errors.New("the request is larger than is taken")

// Request is what has arrived of a request, as far as it has.
type Request struct {
	// MaxBody bounds its body as it is sent, with chunks and trailers, in bytes.
	MaxBody int
	// Head is there once its header is.
	Head *http.Request

	bytes []byte
	body  int // where the body begins
	end   int // where it ends, with its trailers; 0: not known yet
	at    int // of a chunked body: the next chunk's line
	given int // of a body that is handed on: where its next byte, or chunk's line, is
	left  int // bytes of the chunk there that have not been given
}

// Add takes what has arrived and reports whether the request is whole.
func (r *Request) Add(p []byte) (whole bool, err error) {
	if len(r.bytes)+len(p) > MaxHead+r.MaxBody {
		return false, ErrTooLarge
	}
	r.bytes = append(r.bytes, p...)
	if r.Head == nil {
		n := bytes.Index(r.bytes[:min(len(r.bytes), MaxHead)], []byte("\r\n\r\n"))
		if n < 0 {
			if len(r.bytes) >= MaxHead {
				return false, fmt.Errorf("its header takes more than %d bytes", MaxHead)
			}
			return false, nil
		}
		r.body = n + 4
		r.at = r.body
		if r.Head, err = http.ReadRequest(bufio.NewReader(bytes.NewReader(r.bytes[:r.body]))); err != nil {
			return false, err
		}
		if n := r.Head.ContentLength; n > int64(r.MaxBody) {
			return false, ErrTooLarge
		} else if n >= 0 {
			r.end = r.body + int(n)
		}
	}
	if r.end == 0 {
		if err := r.chunks(); err != nil {
			return false, err
		}
	}
	return r.end > 0 && len(r.bytes) >= r.end, nil
}

// chunks looks for the end of a chunked body, from the chunk on at which the last look
// ended. What is in the chunks net/http reads, when all are there.
func (r *Request) chunks() error {
	for {
		line, _, ok := bytes.Cut(r.bytes[min(r.at, len(r.bytes)):], []byte("\r\n"))
		if !ok {
			if len(line) > MaxHead {
				return errors.New("a chunk's line has no end")
			}
			return nil
		}
		size, _, _ := bytes.Cut(line, []byte(";"))
		n, err := strconv.ParseUint(string(bytes.TrimSpace(size)), 16, 31)
		if err != nil || n > uint64(r.MaxBody) {
			return fmt.Errorf("a chunk of %.20q bytes", size)
		}
		if n > 0 {
			r.at += len(line) + 2 + int(n) + 2
			continue
		}
		trailers := r.bytes[r.at+len(line):] // from the line's end on: there may be none
		if k := bytes.Index(trailers[:min(len(trailers), MaxHead)], []byte("\r\n\r\n")); k >= 0 {
			r.end = r.at + len(line) + k + 4
		} else if len(trailers) >= MaxHead {
			return fmt.Errorf("its trailers take more than %d bytes", MaxHead)
		}
		return nil
	}
}

// Pieces gives f what has come of a chunked body and was not given yet, without what is
// between the chunks. chunks has looked at it.
func (r *Request) Pieces(f func(p []byte)) {
	r.given = max(r.given, r.body)
	for r.given < len(r.bytes) {
		if r.left == 0 {
			line, _, ok := bytes.Cut(r.bytes[r.given:], []byte("\r\n"))
			if !ok {
				return
			}
			size, _, _ := bytes.Cut(line, []byte(";"))
			n, err := strconv.ParseUint(string(bytes.TrimSpace(size)), 16, 31)
			if err != nil || n == 0 {
				return
			}
			r.given += len(line) + 2
			r.left = int(n)
			continue
		}
		n := min(r.left, len(r.bytes)-r.given)
		f(r.bytes[r.given : r.given+n])
		r.given += n
		if r.left -= n; r.left == 0 {
			r.given += 2 // the chunk's own line end
		}
	}
}

// Expects reports whether the client waits to be told that it may send the body.
func (r *Request) Expects() bool {
	return r.Head != nil && len(r.bytes) == r.body && r.Head.Header.Get("Expect") == "100-continue"
}

// Body returns the whole request's body; its trailers are in Head then. It is valid until Next.
func (r *Request) Body() ([]byte, error) {
	if r.end == r.body {
		return nil, nil
	}
	if r.Head.ContentLength >= 0 {
		return r.bytes[r.body:r.end], nil
	}
	whole, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(r.bytes[:r.end])))
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(whole.Body)
	r.Head = whole
	return body, err
}

// Held is how many bytes are held of it.
func (r *Request) Held() int { return len(r.bytes) }

// Next forgets the request, which is whole. What has arrived behind it is the beginning of
// the next one, and to be added again.
func (r *Request) Next() (rest []byte) {
	rest = r.bytes[r.end:]
	*r = Request{MaxBody: r.MaxBody}
	return rest
}
