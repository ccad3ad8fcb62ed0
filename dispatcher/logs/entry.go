package logs

import (
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"
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
	Version   string    `json:"version,omitempty"` // "" is $LATEST; of an Event the qualifier that it was sent to
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

// encode returns the entry in at most limit bytes; what it has to leave out for that, it
// takes out of the entry too.
func (e *Entry) encode(limit int) ([]byte, error) {
	b, err := json.Marshal(e)
	if err != nil || len(b) <= limit {
		return b, err
	}
	e.cut(limit)
	if b, err = json.Marshal(e); err == nil && len(b) > limit {
		err = errors.New("an entry that cannot be cut")
	}
	return b, err
}

// What JSON has around the values of a Line and of a line of a trace.
const (
	aroundLine  = len(`{"stream":"","text":""},`)
	aroundTrace = len(`"",`)
)

// cut leaves limit bytes, as JSON: a quarter for the error at most, an eighth for the note,
// and for what was printed the rest. Slices are made anew: the old ones are somebody
// else's too.
func (e *Entry) cut(limit int) {
	e.Cut = true
	e.Note = cutJSON(e.Note, limit/8)
	if e.Error != nil {
		short := Error{Type: cutJSON(e.Error.Type, limit/32), Message: cutJSON(e.Error.Message, limit/8)}
		room := limit/4 - inJSON(short.Type) - inJSON(short.Message)
		for _, l := range e.Error.Trace {
			if room -= aroundTrace + inJSON(l); room < 0 {
				break
			}
			short.Trace = append(short.Trace, l)
		}
		e.Error = &short
	}
	printed := e.Lines
	e.Lines = nil
	rest, err := json.Marshal(e)
	if err != nil {
		return // encode says so
	}
	room := limit - len(rest) - len(`"lines":[],`)
	for _, l := range printed {
		if room -= aroundLine + inJSON(l.Stream); room <= 0 {
			return
		}
		text := cutJSON(l.Text, room)
		e.Lines = append(e.Lines, Line{l.Stream, text})
		if len(text) < len(l.Text) {
			return
		}
		room -= inJSON(text)
	}
}

// inJSON is what a text takes in JSON, without the quotes.
func inJSON(text string) (n int) {
	for _, r := range text {
		n += runeInJSON(r)
	}
	return n
}

// cutJSON returns as much of a text as takes limit bytes in JSON.
func cutJSON(text string, limit int) string {
	for i, r := range text {
		if limit -= runeInJSON(r); limit < 0 {
			return text[:i]
		}
	}
	return text
}

// runeInJSON is what package json makes of a rune at most, in bytes.
func runeInJSON(r rune) int {
	switch {
	case r == '"', r == '\\', r >= '\b' && r <= '\r' && r != '\v':
		return 2
	case r < ' ', r == '<', r == '>', r == '&', r == utf8.RuneError, r == '\u2028', r == '\u2029':
		return len(`\u0000`)
	}
	return utf8.RuneLen(r)
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
