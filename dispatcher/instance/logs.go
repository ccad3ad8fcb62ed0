package instance

// maxLogBytes is the console output that is kept of an instance.
const maxLogBytes = 1 << 20

// LogLine is console output of an instance in the order in which it was written.
type LogLine struct {
	Stream string `json:"stream"` // stdout, stderr, kernel
	Text   string `json:"text"`
}

// logBuffer keeps an instance's console output.
type logBuffer struct {
	lines  []LogLine // finished: another stream was written to after them
	stream string    // of what is being written
	text   []byte    // grows; a string would be copied for each of its bytes
}

var streamNames = [...]string{"kernel", "stdout", "stderr"}

func (b *logBuffer) write(fd uint16, p []byte) {
	if len(p) == 0 {
		return
	}
	name := "kernel"
	if int(fd) < len(streamNames) {
		name = streamNames[fd]
	}
	if name != b.stream {
		b.finish()
		b.stream = name
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

func (b *logBuffer) reset() { b.lines, b.text = nil, b.text[:0] }

func (b *logBuffer) take() []LogLine {
	if len(b.text) > 0 {
		b.finish()
	}
	lines := b.lines
	b.lines = nil
	return lines
}
