package dispatcher

import (
	"strings"
	"testing"

	"seuss/dispatcher/instance"
)

// TestSpokenIsBounded: of what a program has printed that does not start an error has a few
// lines, however many there are.
func TestSpokenIsBounded(t *testing.T) {
	var lines []instance.LogLine
	for range 2048 {
		lines = append(lines, instance.LogLine{Stream: "stdout", Text: strings.Repeat("a", 2*maxSaid)}, instance.LogLine{Stream: "stderr", Text: "b"})
	}
	if text := spoken(lines); len(text) > maxLines*(maxSaid+64)+64 || !strings.HasSuffix(text, "; stderr: b") || !strings.Contains(text, "[4088 lines were cut]") {
		t.Errorf("%d bytes: %.200q", len(text), text)
	}
	if text := spoken(lines[1:2]); text != "; stderr: b" {
		t.Errorf("%q", text)
	}
	if text := spoken(nil); text != "" {
		t.Errorf("%q", text)
	}
}
