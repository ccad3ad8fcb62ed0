package contracts

import (
	"context"
	"errors"
	"fmt"
	"net"
)

// Exchange converses with a program that takes connections, instead of an event that is
// given to it. It is called on a goroutine of its own while the guest runs; ctx ends with
// the guest's run, and it has to return then. Of contracts that have a Port.
type Exchange func(ctx context.Context, call *Call, dial Dial) error

// Dial opens a connection to the program's port. The connection ends with the exchange.
type Dial func(ctx context.Context) (net.Conn, error)

// ErrClient is matched by what an exchange fails with that is not the program's fault.
var ErrClient = errors.New("the exchange was ended by its client")

// PanicError is an exchange that has panicked. Its text is for the client, and has no stack.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string {
	return fmt.Sprintf("the exchange with the program panicked: %v", e.Value)
}
