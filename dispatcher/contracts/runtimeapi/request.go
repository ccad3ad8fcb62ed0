package runtimeapi

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"strconv"

	"seuss/dispatcher/contracts"
)

// Bounds of a request, in bytes.
const (
	maxHead = 64 << 10
	maxLine = 4 << 10                           // before a chunk
	maxBody = contracts.MaxAnswerBytes + 64<<10 // of a stream with its chunks and trailers
)

var errTooLarge = errors.New("the request is larger than the largest response")

// part is what of a chunked body comes next.
type part uint8

const (
	chunkLine part = iota
	chunkBytes
	chunkEnd
	trailers
)

// request is what has arrived on a connection, as far as it has. One connection carries
// one.
type request struct {
	total int           // bytes that have come
	bytes []byte        // the header, and behind it the body; of a chunked one what is not decoded yet
	head  *http.Request // once its header is there
	body  int           // where the body begins

	// Of a chunked body.
	content []byte // decoded, and not handed on
	next    part
	left    int // bytes of the chunk that have not come
}

// held is how much memory it takes, in bytes.
func (r *request) held() int { return len(r.bytes) + len(r.content) }

// add takes what has arrived and reports whether the request is whole.
func (r *request) add(p []byte) (whole bool, err error) {
	if r.total += len(p); r.total > maxHead+maxBody {
		return false, errTooLarge
	}
	r.bytes = append(r.bytes, p...)
	if r.head == nil {
		n := bytes.Index(r.bytes[:min(len(r.bytes), maxHead)], []byte("\r\n\r\n"))
		if n < 0 {
			if len(r.bytes) >= maxHead {
				return false, fmt.Errorf("its header takes more than %d bytes", maxHead)
			}
			return false, nil
		}
		r.body = n + 4
		if r.head, err = http.ReadRequest(bufio.NewReader(bytes.NewReader(r.bytes[:r.body]))); err != nil {
			return false, err
		}
		if r.head.ContentLength > maxBody {
			return false, errTooLarge
		}
	}
	if n := r.head.ContentLength; n >= 0 {
		return int64(len(r.bytes)-r.body) >= n, nil
	}
	n, whole, err := r.decode(r.bytes[r.body:])
	r.bytes = append(r.bytes[:r.body], r.bytes[r.body+n:]...)
	return whole, err
}

// decode takes what of a chunked body can be told from b, its first n bytes, and reports
// whether that was the end.
func (r *request) decode(b []byte) (n int, whole bool, err error) {
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
			if err != nil || length > maxBody {
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
			end := bytes.Index(rest[:min(len(rest), maxHead)], []byte("\r\n\r\n"))
			switch {
			case bytes.HasPrefix(rest, []byte("\r\n")): // there are none
				return n + 2, true, nil
			case end >= 0:
				header, err := textproto.NewReader(bufio.NewReader(bytes.NewReader(rest[:end+4]))).ReadMIMEHeader()
				r.head.Trailer = http.Header(header)
				return n + end + 4, err == nil, err
			case len(rest) >= maxHead:
				return n, false, fmt.Errorf("its trailers take more than %d bytes", maxHead)
			}
			return n, false, nil
		}
	}
}

// take returns what has come of a chunked body since it was called last. It is valid until
// the next add.
func (r *request) take() []byte {
	p := r.content
	r.content = r.content[:0]
	return p
}

// expects reports whether the client waits to be told that it may send the body.
func (r *request) expects() bool {
	return r.head != nil && r.total == r.body && r.head.Header.Get("Expect") == "100-continue"
}

// read returns the whole request's body, but for what was taken; its trailers are in head.
func (r *request) read() []byte {
	if n := r.head.ContentLength; n >= 0 {
		return r.bytes[r.body : r.body+int(n)]
	}
	return r.content
}
