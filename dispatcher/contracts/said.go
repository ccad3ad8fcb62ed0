package contracts

import (
	"fmt"
	"strings"

	"seuss/dispatcher/instance"
)

// maxOwnWords bounds what of standard error becomes a part of an error, in bytes.
const maxOwnWords = 64 << 10

// Said is what a program has written to its standard error, as far as it becomes a part of
// what it did wrong.
type Said struct {
	text []byte
	cut  int // bytes that are left out
}

// Listen keeps what the program of an instance writes to its standard error, which goes
// into its logs besides.
func (s *Said) Listen(i *instance.Instance) {
	i.Output(func(fd uint16, p []byte) bool {
		if fd == 2 {
			s.Add(p)
		}
		return false
	})
}

// Add takes what was written.
func (s *Said) Add(p []byte) {
	room := min(len(p), maxOwnWords-len(s.text))
	s.text = append(s.text, p[:room]...)
	s.cut += len(p) - room
}

// After is what was written, behind a prefix; "" if that is nothing.
func (s *Said) After(prefix string) string {
	text := strings.ToValidUTF8(strings.TrimSpace(string(s.text)), "\uFFFD")
	if text == "" {
		return ""
	}
	if s.cut > 0 {
		text += fmt.Sprintf(" [%d bytes were cut]", s.cut)
	}
	return prefix + text
}
