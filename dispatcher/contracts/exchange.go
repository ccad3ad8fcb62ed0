package contracts

import (
	"context"
	"errors"
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
