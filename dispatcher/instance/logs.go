package instance

// Bounds of the console output that is kept of an instance. A guest whose streams take
// turns byte by byte would make a million lines of it otherwise.
const (
	maxLogBytes = 1 << 20
	maxLogLines = 4096
)

// MergedStream is the stream of an instance's last line where it had more lines than are
// kept: what was written from there on, whichever stream it was written to.
const MergedStream = "merged"

// LogLine is console output of an instance in the order in which it was written.
type LogLine struct {
	Stream string `json:"stream"` // stdout, stderr, kernel; MergedStream
	Text   string `json:"text"`
}

// logBuffer keeps an instance's console output.
type logBuffer struct {
	lines  []LogLine // finished: another stream was written to after them
	stream string    // of what is being written
	text   []byte    // grows; a string would be copied for each of its bytes

	output func(fd uint16, p []byte) (taken bool) // see Instance.Output; nil: all is kept
	used   int                                    // bytes kept, where there is an output
	cut    bool                                   // some were not
}

var streamNames = [...]string{"kernel", "stdout", "stderr"}

func (b *logBuffer) write(fd uint16, p []byte) {
	if b.output != nil { // there is no bound below
		if b.output(fd, p) {
			return
		}
		if room := maxLogBytes - b.used; len(p) > room {
			p, b.cut = p[:room], true
		}
		b.used += len(p)
	}
	if len(p) == 0 {
		return
	}
	name := "kernel"
	if int(fd) < len(streamNames) {
		name = streamNames[fd]
	}
	if name != b.stream && b.stream != MergedStream {
		b.finish()
		b.stream = name
		if len(b.lines) == maxLogLines-1 {
			b.stream = MergedStream
		}
	}
	b.text = append(b.text, p...)
}

func (b *logBuffer) finish() {
	if len(b.text) > 0 {
		b.lines = append(b.lines, LogLine{Stream: b.stream, Text: string(b.text)})
		b.text = b.text[:0]
	}
}

func (b *logBuffer) empty() bool { return len(b.text) == 0 && len(b.lines) == 0 }

// reset is for the next instance.
func (b *logBuffer) reset() {
	b.clear()
	b.used, b.cut = 0, false
}

func (b *logBuffer) clear() { b.lines, b.stream, b.text = nil, "", b.text[:0] }

func (b *logBuffer) take() []LogLine {
	b.finish()
	lines := b.lines
	b.clear()
	return lines
}
