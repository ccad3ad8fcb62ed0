package instances

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"
)

// Port is a connection to a TCP port of an instance. Its bytes wait on either side, within the
// stream's bound, while the instance has no machine; what comes for it brings it to one.
type Port interface {
	net.Conn
	CloseWrite() error
	// WaitOpen waits until the guest takes it, within the read deadline.
	WaitOpen() error
}

// Bounds of connections to an instance's ports.
const (
	MaxPorts = 64               // of one instance at a time
	openTime = 10 * time.Second // in which the guest has to take one
)

// Dial connects to a TCP port of its, as from 127.0.0.1. That it is paused ends with it, and
// with each byte that is written to it. Who has it closes it; it ends with the instance's life,
// of which it is no part of copies, nor of what is kept.
func (i *Instance) Dial(ctx context.Context, port uint16) (net.Conn, error) {
	if port == 0 {
		return nil, fmt.Errorf("instance %q: port 0: want 1 to 65535: %w", i.info.Name, ErrInvalid)
	}
	i.mu.Lock()
	many := i.ports >= MaxPorts
	if !many {
		i.ports++
	}
	i.mu.Unlock()
	if many {
		return nil, fmt.Errorf("instance %q: %d connections to its ports are open: close some: %w", i.info.Name, MaxPorts, ErrBusy)
	}
	p := &dialled{i: i}
	err := i.ask(ctx, &command{what: "forward", do: func(ctx context.Context, t Turn) (err error) {
		p.Port, err = i.body.Dial(ctx, t, port, i.logs.write)
		return err
	}})
	if err != nil {
		p.left()
		return nil, err
	}
	limited, done := context.WithTimeout(ctx, openTime)
	defer done()
	stop := context.AfterFunc(limited, func() { p.SetReadDeadline(time.Unix(1, 0)) })
	if err = p.WaitOpen(); err == nil && !stop() {
		err = context.Cause(limited)
	}
	if err != nil {
		p.Close()
		return nil, fmt.Errorf("instance %q: forward: nobody takes connections on its port %d: %w: %w", i.info.Name, port, err, ErrInvalid)
	}
	return p, nil
}

// dialled is a Port of an instance that is noticed to be used.
type dialled struct {
	Port
	i    *Instance
	once sync.Once
}

func (p *dialled) left() {
	p.once.Do(func() {
		p.i.mu.Lock()
		defer p.i.mu.Unlock()
		p.i.ports--
	})
}

// Write is for what is paused, too: it goes on.
func (p *dialled) Write(b []byte) (int, error) {
	p.i.mu.Lock()
	paused := p.i.info.State == Paused
	p.i.info.Used = time.Now()
	p.i.mu.Unlock()
	if paused {
		ctx, done := context.WithTimeout(context.Background(), openTime)
		defer done()
		if err := p.i.Resume(ctx); err != nil {
			return 0, err
		}
	}
	return p.Port.Write(b)
}

// Close ends it.
func (p *dialled) Close() error {
	p.left()
	return p.Port.Close()
}
