package instances

import (
	"context"
	"errors"
	"io"
	"net"
)

func (b *body) Dial(_ context.Context, _ Turn, port uint16, _ Output) (Port, error) {
	if port == 1 {
		return nil, &Refusal{errors.New("no room")}
	}
	near, far := net.Pipe()
	go io.Copy(far, far)
	return pipe{near}, nil
}

// pipe is a Port of which all comes back; after it was closed, nothing.
type pipe struct{ net.Conn }

func (p pipe) CloseWrite() error { return p.Close() }
func (p pipe) WaitOpen() error   { return nil }
