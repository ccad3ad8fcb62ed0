// Package httpport declares the contract of servers: a program listens for HTTP/1.1 on the
// TCP port that its function names, and finds in its environment as PORT. It is captured
// when a thread of it waits for connections there, and a path, if one is named, has
// answered with 2xx. Each request reaches a fresh instance as a connection from 127.0.0.1.
//
// Whoever has a request converses with the program through a contracts.Exchange, on a
// goroutine of its own while another runs the guest; Proxy is one that hands a request and
// its answer through as they come. An event is one in payload format 2.0 of AWS Lambda's
// function URLs, and so is what becomes of its answer.
//
// The program is hostile: its answer's header has at most maxHead bytes, and everything
// ends with the invocation, at its deadline at the latest.
//
// Locks: connections.mu (connections.go), then those of package vsock.
package httpport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"seuss/dispatcher/contracts"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/instance"
	"seuss/lineage"
	"seuss/vmm/vsock"
)

// Name is that of the contract.
const Name = "http"

func init() {
	contracts.Register(&contracts.Contract{
		Name: Name, Title: "HTTP on a port",
		Ready: "a thread waits for connections to its port, and its ready path, if it has one, has answered",
		Port:  true,
		Environment: func(f *functions.Function) map[string]string {
			return map[string]string{"PORT": strconv.Itoa(int(f.Settings.Program.Port))}
		},
		Await: await, Serve: serve, Live: &contracts.Live{Own: true, Start: start, Serve: serve},
	})
}

// maxHead bounds the header of an answer, in bytes.
const maxHead = 256 << 10

// readyEvery is how long a program that does not answer its ready path as it should is left
// alone before it is asked again.
const readyEvery = 50 * time.Millisecond

func await(ctx context.Context, i *instance.Instance, p *functions.Program, deadline time.Time) (contracts.Ready, error) {
	var said contracts.Said
	said.Listen(i)
	err := ready(ctx, i, p, deadline)
	if text := said.After(""); err != nil && text != "" {
		err = fmt.Errorf("%w; the program has written: %s", err, text)
	}
	return contracts.Ready{}, err
}

func start(ctx context.Context, i *instance.Instance, p *functions.Program, deadline time.Time) error {
	_, err := await(ctx, i, p, deadline)
	return err
}

func ready(ctx context.Context, i *instance.Instance, p *functions.Program, deadline time.Time) error {
	i.Keep(nil)
	if err := waits(ctx, i, p.Port, deadline); err != nil || p.ReadyPath == "" {
		return err
	}
	var last error
	ask := func(ctx context.Context, _ *contracts.Call, dial contracts.Dial) error {
		for {
			if last = get(ctx, dial, p); last == nil {
				return nil
			}
			select {
			case <-ctx.Done():
				return last
			case <-time.After(readyEvery):
			}
		}
	}
	if err := converse(ctx, i, p.Port, &contracts.Call{Deadline: deadline, Exchange: ask}); err != nil {
		if last != nil {
			err = fmt.Errorf("%w (%w)", last, err)
		}
		return fmt.Errorf("the program has not answered GET %s: %w", p.ReadyPath, ended(err))
	}
	if i.Parked() != nil { // it waits, and somebody else wanted its machine
		return nil
	}
	return waits(ctx, i, p.Port, deadline)
}

// get asks a program for its ready path: nil, it has answered with 2xx.
func get(ctx context.Context, dial contracts.Dial, p *functions.Program) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+local(p.Port)+p.ReadyPath, nil)
	if err != nil {
		return err
	}
	answer, err := transport(dial).RoundTrip(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode/100 != 2 {
		return fmt.Errorf("it answers with %s", answer.Status)
	}
	return nil
}

// waits runs a program until a thread of it waits for connections to the port.
func waits(ctx context.Context, i *instance.Instance, port uint16, deadline time.Time) error {
	var list []instance.Listener
	err := i.Until(ctx, deadline, func() bool {
		list = i.AppendListeners(list[:0])
		return slices.Contains(list, instance.Listener{Port: port, Waited: true, Reachable: true})
	})
	if err == nil {
		return nil
	}
	err = ended(err)
	var others []string
	for _, l := range list {
		switch {
		case l.Port == port && !l.Reachable:
			return fmt.Errorf("the program listens on port %d, but not on 127.0.0.1 or ::1: %w", port, err)
		case l.Port == port:
			return fmt.Errorf("the program listens on port %d, but no thread of it waits for connections: %w", port, err)
		}
		others = append(others, strconv.Itoa(int(l.Port)))
	}
	if len(others) > 0 {
		return fmt.Errorf("the program does not listen on port %d (PORT in its environment), but on %s: %w", port, strings.Join(others, ", "), err)
	}
	return fmt.Errorf("the program does not listen on port %d (PORT in its environment): %w", port, err)
}

// ended makes a program's own end a request's fault.
func ended(err error) error {
	if errors.Is(err, instance.ErrGuestExit) || errors.Is(err, instance.ErrTimeout) {
		return fmt.Errorf("%w: %w", err, lineage.ErrInvalid)
	}
	return err
}

func serve(ctx context.Context, i *instance.Instance, p *functions.Program, call *contracts.Call) (answer []byte, err error) {
	if call.Exchange == nil {
		var e event
		if e, err = decodeEvent(call.Event); err != nil {
			return nil, err
		}
		with := *call
		with.Exchange = func(ctx context.Context, call *contracts.Call, dial contracts.Dial) (err error) {
			answer, err = e.exchange(ctx, call, dial, p.Port)
			return err
		}
		call = &with
	}
	if err := converse(ctx, i, p.Port, call); err != nil {
		return nil, err
	}
	if answer == nil {
		answer = []byte("null")
	}
	return answer, nil
}

// lastWords is how long a program that has ended its connection may go on until it rests,
// within its deadline, for it may be about to end itself, and then that is why.
const lastWords = 2 * time.Second

// hungUp reports whether an exchange has failed since the program ended its connection, or
// takes none.
func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, vsock.ErrReset) || errors.Is(err, vsock.ErrRefused)
}

// converse runs the guest while an exchange does what it does, to its end.
func converse(ctx context.Context, i *instance.Instance, port uint16, call *contracts.Call) error {
	running, cancel := context.WithCancel(ctx)
	defer cancel()
	open := newConnections(i.Inbound(), port, call.Deadline)
	var over atomic.Bool
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer open.begin()
		defer cancel() // the guest runs no longer than somebody listens
		defer over.Store(true)
		err = exchange(running, call, open.dial)
	}()
	open.begun()
	guest := i.Until(running, call.Deadline, over.Load)
	over.Store(true)
	cancel()
	open.end()
	<-done
	if errors.Is(guest, context.Canceled) && ctx.Err() == nil {
		guest = nil // by us
	}
	if guest == nil && hungUp(err) {
		deadline := time.Now().Add(lastWords)
		if call.Deadline.Before(deadline) {
			deadline = call.Deadline
		}
		guest = i.Rest(deadline)
		if errors.Is(guest, instance.ErrTimeout) {
			guest = nil
		}
	}
	if err == nil || guest == nil {
		return failed(err)
	}
	return guest
}

// exchange calls the call's. It is on a goroutine of its own, where nobody else would take
// what its code, or net/http's, panics with: that ends this request and no other.
func exchange(ctx context.Context, call *contracts.Call, dial contracts.Dial) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &contracts.PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return call.Exchange(ctx, call, dial)
}

// failed says what a program has done wrong, where it is the program: not what a client
// has, or somebody who gave up.
func failed(err error) error {
	var own *instance.HandlerError
	var fault *contracts.PanicError
	if err == nil || errors.As(err, &own) || errors.As(err, &fault) || errors.Is(err, lineage.ErrInvalid) || errors.Is(err, contracts.ErrClient) {
		return err
	}
	return &instance.HandlerError{Type: "Runtime.BadGateway", Message: "the program has not answered as HTTP does: " + err.Error()}
}

func local(port uint16) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))) }

// transport makes one request to a program.
func transport(dial contracts.Dial) *http.Transport {
	return &http.Transport{
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
		DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: maxHead,
	}
}
