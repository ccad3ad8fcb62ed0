package python

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of what is read of a function's text.
const (
	maxAsked     = 4096 // modules
	maxAskedName = 200  // bytes of a module's name
)

// scanner finds the modules that Python source asks for: the statements "import a.b as c,
// d" and "from a.b import c" wherever they are, and calls of import_module and __import__
// with a name in quotes. It knows comments, strings, brackets and line joining, and no
// more: text that is no Python gives some names or none.
type scanner struct {
	names map[string]bool
	text  string
	at    int
}

func (s *scanner) add(name string) {
	if name != "" && name[0] != '.' && len(name) <= maxAskedName && len(s.names) < maxAsked {
		s.names[name] = true
	}
}

func (s *scanner) scan(text []byte) {
	s.text, s.at = strings.TrimPrefix(string(text), "\ufeff"), 0
	depth, begins := 0, true // of brackets; whether a statement may begin here
	for s.at < len(s.text) {
		switch c := s.text[s.at]; {
		case c == '#':
			s.comment()
		case c == '\n':
			s.at++
			begins = begins || depth == 0
		case c == ' ' || c == '\t' || c == '\r' || c == '\f':
			s.at++
		case c == '\\':
			s.at = min(s.at+2, len(s.text))
		case c == '"' || c == '\'':
			s.literal()
			begins = false
		case strings.IndexByte("([{", c) >= 0:
			depth++
			s.at++
			begins = false
		case strings.IndexByte(")]}", c) >= 0:
			depth = max(depth-1, 0)
			s.at++
			begins = false
		case c == ';' || c == ':':
			s.at++
			begins = depth == 0
		default:
			word := s.word()
			switch {
			case word == "":
				_, n := utf8.DecodeRuneInString(s.text[s.at:])
				s.at += n
			case begins && word == "import":
				s.list()
			case begins && word == "from":
				s.add(s.dotted())
			case word == "import_module" || word == "__import__":
				s.call()
			}
			begins = false
		}
	}
}

func (s *scanner) comment() {
	if n := strings.IndexByte(s.text[s.at:], '\n'); n >= 0 {
		s.at += n
	} else {
		s.at = len(s.text)
	}
}

// literal passes a string and returns what is between its quotes.
func (s *scanner) literal() string {
	quote := s.text[s.at : s.at+1]
	if long := strings.Repeat(quote, 3); strings.HasPrefix(s.text[s.at:], long) {
		quote = long
	}
	s.at += len(quote)
	began := s.at
	for s.at < len(s.text) {
		switch {
		case s.text[s.at] == '\\':
			s.at = min(s.at+2, len(s.text))
		case strings.HasPrefix(s.text[s.at:], quote):
			value := s.text[began:s.at]
			s.at += len(quote)
			return value
		case s.text[s.at] == '\n' && len(quote) == 1:
			return "" // it is not closed
		default:
			s.at++
		}
	}
	return ""
}

// word passes a name.
func (s *scanner) word() string {
	rest := s.text[s.at:]
	end := strings.IndexFunc(rest, func(r rune) bool {
		return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.Is(unicode.Mn, r)
	})
	if end < 0 {
		end = len(rest)
	}
	s.at += end
	return rest[:end]
}

// blank passes what may stand between the words of a statement.
func (s *scanner) blank() {
	for s.at < len(s.text) {
		switch {
		case s.text[s.at] == ' ' || s.text[s.at] == '\t':
			s.at++
		case strings.HasPrefix(s.text[s.at:], "\\\n"):
			s.at += 2
		case strings.HasPrefix(s.text[s.at:], "\\\r\n"):
			s.at += 3
		default:
			return
		}
	}
}

// dotted passes a module's name; "" if there is none, or a relative one.
func (s *scanner) dotted() string {
	var name strings.Builder
	for {
		s.blank()
		word := s.word()
		name.WriteString(word)
		s.blank()
		if s.at == len(s.text) || s.text[s.at] != '.' {
			break
		}
		s.at++
		name.WriteByte('.')
		if name.Len() > maxAskedName {
			return ""
		}
	}
	return strings.TrimRight(name.String(), ".")
}

// list passes what follows "import".
func (s *scanner) list() {
	for {
		s.add(s.dotted())
		was := s.at
		if s.word() == "as" {
			s.blank()
			s.word()
			s.blank()
		} else {
			s.at = was
		}
		if s.at == len(s.text) || s.text[s.at] != ',' {
			return
		}
		s.at++
	}
}

// call passes the beginning of a call whose first argument is a name in quotes.
func (s *scanner) call() {
	s.blank()
	if s.at == len(s.text) || s.text[s.at] != '(' {
		return
	}
	was := s.at // the bracket counts for who called
	s.at++
	s.blank()
	if s.at < len(s.text) && (s.text[s.at] == '"' || s.text[s.at] == '\'') {
		if name := s.literal(); !strings.ContainsAny(name, "\\ \n") {
			s.add(name)
		}
	}
	s.at = was
}
