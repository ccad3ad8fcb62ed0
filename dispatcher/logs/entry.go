package logs

import (
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"time"
)

// Kind says what an entry is about.
type Kind string

// The kinds.
const (
	Invocation Kind = "invocation" // one that printed something or failed
	Init       Kind = "init"       // the code was loaded for a snapshot
	Event      Kind = "event"      // an asynchronous event failed, or was given up
	Dropped    Kind = "dropped"    // entries were lost, as many as Dropped says
)

// Entry is what is kept of one invocation, or of one failure.
type Entry struct {
	Seq       uint64    `json:"seq"`  // grows with each entry of a function
	Time      time.Time `json:"time"` // when it ended
	Kind      Kind      `json:"kind"`
	RequestID string    `json:"request_id,omitempty"`
	Version   string    `json:"version,omitempty"` // "" is $LATEST
	Lines     []Line    `json:"lines,omitempty"`   // what was printed
	Cut       bool      `json:"cut,omitempty"`     // there was more
	Error     *Error    `json:"error,omitempty"`
	Note      string    `json:"note,omitempty"`    // of the service
	Dropped   uint64    `json:"dropped,omitempty"` // entries lost before this one
}

// Line is what was written to one stream in one go.
type Line struct {
	Stream string `json:"stream"` // stdout, stderr, kernel, merged
	Text   string `json:"text"`
}

// Error is what a function did wrong.
type Error struct {
	Type    string   `json:"type"`
	Message string   `json:"message"`
	Trace   []string `json:"trace,omitempty"`
}

// size is about what an entry takes in memory.
func (e *Entry) size() int {
	n := 256 + len(e.RequestID) + len(e.Version) + len(e.Note)
	for _, l := range e.Lines {
		n += 32 + len(l.Text)
	}
	if e.Error != nil {
		n += len(e.Error.Type) + len(e.Error.Message)
		for _, l := range e.Error.Trace {
			n += 16 + len(l)
		}
	}
	return n
}

// cutText drops what is printed beyond limit bytes.
func (e *Entry) cutText(limit int) {
	lines := make([]Line, 0, len(e.Lines)) // the old ones are somebody else's too
	for _, l := range e.Lines {
		if len(l.Text) > limit {
			l.Text, e.Cut = strings.ToValidUTF8(l.Text[:limit], ""), true
		}
		if limit -= len(l.Text); l.Text != "" {
			lines = append(lines, l)
		}
		if e.Cut {
			break
		}
	}
	e.Lines = lines
	if e.Error != nil && e.Cut {
		short := *e.Error
		short.Message, short.Trace = strings.ToValidUTF8(short.Message[:min(len(short.Message), 4<<10)], ""), nil
		e.Error = &short
	}
}

// encode returns the entry in at most limit bytes; if need be some of its text is left out.
func (e Entry) encode(limit int) ([]byte, error) {
	b, err := json.Marshal(&e)
	if err != nil || len(b) <= limit {
		return b, err
	}
	e.cutText(limit / 8) // JSON has up to six bytes for one
	if b, err = json.Marshal(&e); err == nil && len(b) > limit {
		err = errors.New("an entry that cannot be cut")
	}
	return b, err
}

// Key is whose a log is: a function, and the identity that its deployment got when it was
// created; "" of one that is older than identities.
type Key struct{ Function, ID string }

// dir is the name of the key's directory.
func (k Key) dir() string {
	return strings.ReplaceAll(url.PathEscape(k.Function), ".", "%2E") + "." + strings.ReplaceAll(url.PathEscape(k.ID), ".", "%2E")
}

// keyOf is the reverse.
func keyOf(dir string) (Key, bool) {
	name, id, ok := strings.Cut(dir, ".")
	function, err := url.PathUnescape(name)
	id, err2 := url.PathUnescape(id)
	k := Key{function, id}
	return k, ok && err == nil && err2 == nil && k.dir() == dir
}
