package instance

import (
	"testing"
	"time"
)

func TestMean(t *testing.T) {
	var m Mean
	if m.Known() {
		t.Error("nothing was measured")
	}
	m.Add(8 * time.Millisecond)
	m.Add(16 * time.Millisecond)
	if got := m.Get(); got != 9*time.Millisecond {
		t.Errorf("%v", got)
	}
}
