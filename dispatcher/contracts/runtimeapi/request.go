package runtimeapi

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"seuss/dispatcher/contracts"
)

// Bounds of a request, in bytes.
const (
	maxHead = 64 << 10
	maxBody = contracts.MaxAnswerBytes + 64<<10 // of a stream with its chunks and trailers
)

var errTooLarge = errors.New("the request is larger than the largest response")

// request is what has arrived on a connection, as far as it has. One connection carries
// one.
type request struct {
	bytes []byte
	head  *http.Request // once its header is there
	body  int           // where the body begins
	end   int           // where it ends, with its trailers; 0: not known yet
	at    int           // of a chunked body: the next chunk's line
	given int           // of a body that is handed on: where its next byte, or chunk's line, is
	left  int           // bytes of the chunk there that have not been given
}

// add takes what has arrived and reports whether the request is whole.
func (r *request) add(p []byte) (whole bool, err error) {
	if len(r.bytes)+len(p) > maxHead+maxBody {
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
		r.at = r.body
		if r.head, err = http.ReadRequest(bufio.NewReader(bytes.NewReader(r.bytes[:r.body]))); err != nil {
			return false, err
		}
		if n := r.head.ContentLength; n > maxBody {
			return false, errTooLarge
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
func (r *request) chunks() error {
	for {
		line, _, ok := bytes.Cut(r.bytes[min(r.at, len(r.bytes)):], []byte("\r\n"))
		if !ok {
			if len(line) > maxHead {
				return errors.New("a chunk's line has no end")
			}
			return nil
		}
		size, _, _ := bytes.Cut(line, []byte(";"))
		n, err := strconv.ParseUint(string(bytes.TrimSpace(size)), 16, 31)
		if err != nil || n > maxBody {
			return fmt.Errorf("a chunk of %.20q bytes", size)
		}
		if n > 0 {
			r.at += len(line) + 2 + int(n) + 2
			continue
		}
		trailers := r.bytes[r.at+len(line):] // from the line's end on: there may be none
		if k := bytes.Index(trailers[:min(len(trailers), maxHead)], []byte("\r\n\r\n")); k >= 0 {
			r.end = r.at + len(line) + k + 4
		} else if len(trailers) >= maxHead {
			return fmt.Errorf("its trailers take more than %d bytes", maxHead)
		}
		return nil
	}
}

// pieces gives f what has come of a chunked body and was not given yet, without what is
// between the chunks. chunks has looked at it.
func (r *request) pieces(f func(p []byte)) {
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

// expects reports whether the client waits to be told that it may send the body.
func (r *request) expects() bool {
	return r.head != nil && len(r.bytes) == r.body && r.head.Header.Get("Expect") == "100-continue"
}

// read returns the whole request's body; its trailers are in head then.
func (r *request) read() ([]byte, error) {
	if r.end == r.body {
		return nil, nil
	}
	if r.head.ContentLength >= 0 {
		return r.bytes[r.body:r.end], nil
	}
	whole, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(r.bytes[:r.end])))
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(whole.Body)
	r.head = whole
	return body, err
}
