package instance

import (
	"encoding/json"
	"strings"
	"testing"
)

// Streams that take turns byte by byte cost what their bytes do: the lines are bounded,
// nothing that was written is lost, and the next instance starts anew.
func TestLinesAreBounded(t *testing.T) {
	var b logBuffer
	for i := range maxLogBytes {
		b.write(uint16(1+i%2), []byte{byte('a' + i%2)})
	}
	lines := b.take()
	if len(lines) != maxLogLines {
		t.Fatalf("%d lines, want %d", len(lines), maxLogLines)
	}
	var text strings.Builder
	for _, l := range lines {
		text.WriteString(l.Text)
	}
	if text.String() != strings.Repeat("ab", maxLogBytes/2) {
		t.Errorf("%d bytes of %d, or in another order", text.Len(), maxLogBytes)
	}
	if first, last := lines[0], lines[len(lines)-1]; first.Stream != "stdout" || last.Stream != MergedStream {
		t.Errorf("the first line is of %s, the last of %s", first.Stream, last.Stream)
	}
	if doc, err := json.Marshal(lines); err != nil || len(doc) > 2*maxLogBytes {
		t.Errorf("%d bytes of JSON, %v", len(doc), err)
	}
	b.write(2, []byte("next"))
	if lines = b.take(); len(lines) != 1 || lines[0] != (LogLine{"stderr", "next"}) {
		t.Errorf("the next instance's: %v", lines)
	}
}

// What a driver says of an error is bounded too, and says that it was cut.
func TestErrorsAreBounded(t *testing.T) {
	trace := make([]string, 1<<16)
	doc, err := json.Marshal(HandlerError{Type: strings.Repeat("T", 1<<20), Message: strings.Repeat("é", 1<<20), StackTrace: trace})
	if err != nil {
		t.Fatal(err)
	}
	e := decodeError(doc)
	if len(e.Type) > maxErrorType+cutNote || len(e.Message) > maxErrorText+cutNote || !strings.HasSuffix(e.Message, "bytes were cut]") {
		t.Errorf("type of %d, message of %d bytes: …%s", len(e.Type), len(e.Message), e.Message[len(e.Message)-40:])
	}
	if n := len(e.StackTrace); n != maxErrorLines+1 || !strings.Contains(e.StackTrace[n-1], "lines were cut") {
		t.Errorf("%d lines: %q", n, e.StackTrace[n-1])
	}
	if again, err := json.Marshal(e); err != nil || strings.Contains(string(again), "\ufffd") {
		t.Errorf("a character was cut in two: %v", err)
	}
	long := []string{strings.Repeat("x", maxErrorText), "y"}
	if cut := cutLines(long); len(cut) != 2 || cut[0] != long[0] || !strings.Contains(cut[1], "1 lines were cut") {
		t.Errorf("%.100q", cut)
	}
	if whole := decodeError([]byte(`{"errorType":"E","errorMessage":"m","trace":["a","b"]}`)); whole.Type != "E" || whole.Message != "m" || len(whole.Trace) != 2 {
		t.Errorf("%+v", whole)
	}
}
