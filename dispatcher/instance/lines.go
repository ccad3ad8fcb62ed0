package instance

// Lines keeps what is printed, within the bounds of an instance's logs. The zero value is
// empty.
type Lines struct{ b logBuffer }

// Write takes what was printed to a file descriptor, or by the kernel library: 0.
func (l *Lines) Write(fd uint16, p []byte) {
	if room := maxLogBytes - l.b.used; len(p) > room {
		p, l.b.cut = p[:room], true
	}
	l.b.used += len(p)
	l.b.write(fd, p)
}

// Take returns the lines, and whether there was more.
func (l *Lines) Take() (lines []LogLine, cut bool) { return l.b.take(), l.b.cut }
