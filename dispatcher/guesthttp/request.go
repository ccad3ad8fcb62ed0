package guesthttp

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"strconv"
	"sync"
)

// MaxHead bounds a request's header, and its trailers, in bytes.
const MaxHead = 64 << 10

const maxLine = 4 << 10 // before a chunk

// ErrTooLarge: a request is larger than is taken.
var ErrTooLarge = errors.New("the request is larger than is taken")

// part is what of a chunked body comes next.
type part uint8

const (
	chunkLine part = iota
	chunkBytes
	chunkEnd
	trailers
)

// Request is what has arrived of a request, as far as it has.
type Request struct {
	// MaxBody bounds its body as it is sent, with chunks and trailers, in bytes.
	MaxBody int
	// Head is there once its header is.
	Head *http.Request

	total int    // bytes that have come
	bytes []byte // the header, and behind it the body; of a chunked one what is not decoded yet
	body  int    // where the body begins

	// Of a chunked body.
	content []byte // decoded, and not handed on
	next    part
	left    int // bytes of the chunk that have not come
}

// Held is how much memory it takes, in bytes.
func (r *Request) Held() int { return len(r.bytes) + len(r.content) }

// Add takes what has arrived and reports whether the request is whole.
func (r *Request) Add(p []byte) (whole bool, err error) {
	if r.total += len(p); r.total > MaxHead+r.MaxBody {
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
		if r.Head, err = r.readHead(); err != nil {
			return false, err
		}
		if r.Head.ContentLength > int64(r.MaxBody) {
			return false, ErrTooLarge
		}
	}
	if n := r.Head.ContentLength; n >= 0 {
		return int64(len(r.bytes)-r.body) >= n, nil
	}
	n, whole, err := r.decode(r.bytes[r.body:])
	r.bytes = append(r.bytes[:r.body], r.bytes[r.body+n:]...)
	return whole, err
}

// readers are used again: each has a buffer.
var readers = sync.Pool{New: func() any { return bufio.NewReader(nil) }}

// readHead reads the header, which is whole. It has no body.
func (r *Request) readHead() (*http.Request, error) {
	b := readers.Get().(*bufio.Reader)
	defer readers.Put(b)
	b.Reset(bytes.NewReader(r.bytes[:r.body]))
	head, err := http.ReadRequest(b)
	if err == nil {
		head.Body = http.NoBody // it would read from what is somebody else's then
	}
	return head, err
}

// decode takes what of a chunked body can be told from b, its first n bytes, and reports
// whether that was the end.
func (r *Request) decode(b []byte) (n int, whole bool, err error) {
	for {
		rest := b[n:]
		switch r.next {
		case chunkLine:
			line, _, ok := bytes.Cut(rest[:min(len(rest), maxLine)], []byte("\r\n"))
			if !ok {
				if len(rest) >= maxLine {
					return n, false, errors.New("a chunk's line has no end")
				}
				return n, false, nil
			}
			size, _, _ := bytes.Cut(line, []byte(";"))
			length, err := strconv.ParseUint(string(bytes.TrimSpace(size)), 16, 31)
			if err != nil || length > uint64(r.MaxBody) {
				return n, false, fmt.Errorf("a chunk of %.20q bytes", size)
			}
			n += len(line) + 2
			if r.left, r.next = int(length), chunkBytes; length == 0 {
				r.next = trailers
			}
		case chunkBytes:
			some := rest[:min(r.left, len(rest))]
			r.content = append(r.content, some...)
			n += len(some)
			if r.left -= len(some); r.left > 0 {
				return n, false, nil
			}
			r.next = chunkEnd
		case chunkEnd:
			if len(rest) < 2 {
				return n, false, nil
			}
			if rest[0] != '\r' || rest[1] != '\n' {
				return n, false, errors.New("a chunk is longer than its line says")
			}
			n += 2
			r.next = chunkLine
		case trailers:
			end := bytes.Index(rest[:min(len(rest), MaxHead)], []byte("\r\n\r\n"))
			switch {
			case bytes.HasPrefix(rest, []byte("\r\n")): // there are none
				return n + 2, true, nil
			case end >= 0:
				header, err := textproto.NewReader(bufio.NewReader(bytes.NewReader(rest[:end+4]))).ReadMIMEHeader()
				r.Head.Trailer = http.Header(header)
				return n + end + 4, err == nil, err
			case len(rest) >= MaxHead:
				return n, false, fmt.Errorf("its trailers take more than %d bytes", MaxHead)
			}
			return n, false, nil
		}
	}
}

// Take returns what has come of a chunked body since it was called last. It is valid until
// the next Add.
func (r *Request) Take() []byte {
	p := r.content
	r.content = r.content[:0]
	return p
}

// Expects reports whether the client waits to be told that it may send the body.
func (r *Request) Expects() bool {
	return r.Head != nil && r.total == r.body && r.Head.Header.Get("Expect") == "100-continue"
}

// Body returns the whole request's body, but for what was taken; its trailers are in Head. It
// is valid until Next.
func (r *Request) Body() []byte {
	if n := r.Head.ContentLength; n >= 0 {
		return r.bytes[r.body : r.body+int(n)]
	}
	return r.content
}

// Next forgets the request, which is whole. What has arrived behind it is the beginning of
// the next one, and to be added again.
func (r *Request) Next() (rest []byte) {
	rest = r.bytes[r.body+int(max(r.Head.ContentLength, 0)):]
	*r = Request{MaxBody: r.MaxBody}
	return rest
}
