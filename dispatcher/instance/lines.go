package instance

// Lines keeps what is printed, within the bounds of an instance's logs. The zero value is
// empty.
type Lines struct{ b logBuffer }

// Write takes what was printed to a file descriptor, or by the kernel library: 0. It returns
// how many bytes there was no room for.
func (l *Lines) Write(fd uint16, p []byte) (lost int) {
	if room := maxLogBytes - l.b.used; len(p) > room {
		p, l.b.cut, lost = p[:room], true, len(p)-room
	}
	l.b.used += len(p)
	l.b.write(fd, p)
	return lost
}

// Take returns the lines, and whether there was more.
func (l *Lines) Take() (lines []LogLine, cut bool) { return l.b.take(), l.b.cut }
