package httpport

import (
	"context"
	"errors"
	"strings"
	"testing"

	"seuss/dispatcher/contracts"
)

// TestExchangePanics: what an exchange panics with ends its request, is none of the program's
// faults, and shows a client nothing of the daemon's stack.
func TestExchangePanics(t *testing.T) {
	call := contracts.Call{Exchange: func(context.Context, *contracts.Call, contracts.Dial) error { panic("a fault") }}
	err := failed(exchange(t.Context(), &call, nil))
	var fault *contracts.PanicError
	if !errors.As(err, &fault) || !strings.Contains(string(fault.Stack), "TestExchangePanics") {
		t.Fatal(err)
	}
	if text := err.Error(); !strings.Contains(text, "a fault") || strings.Contains(text, "goroutine") {
		t.Errorf("a client is told %q", text)
	}
}
