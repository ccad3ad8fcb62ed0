package httpport

import (
	"errors"
	"strings"
	"testing"
	"time"

	"seuss/dispatcher/instance"
	"seuss/vmm/vsock"
)

// TestBegun: the guest is kept from running until something is written to it, nobody is
// left who might, or the writer takes long.
func TestBegun(t *testing.T) {
	for _, begin := range []bool{true, false} {
		c := newConnections(instance.Inbound{}, 80, time.Time{})
		if begin {
			go c.begin()
		}
		c.begun()
		c.begin() // a second time, or after the wait
		c.begin()
		select {
		case <-c.written:
		default:
			t.Error("it was written to, and nobody was told")
		}
	}
}

// TestRefusal: what a program's refusal is called, on whichever read or write it shows.
func TestRefusal(t *testing.T) {
	c := newConnections(instance.Inbound{}, 4711, time.Time{})
	if err := c.refusal(vsock.ErrRefused); !errors.Is(err, vsock.ErrRefused) || !strings.Contains(err.Error(), "port 4711 of the program takes no connection") {
		t.Error(err)
	}
	if err := c.refusal(nil); err != nil {
		t.Error(err)
	}
}
