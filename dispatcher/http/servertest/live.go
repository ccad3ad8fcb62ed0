package servertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"seuss/dispatcher/instance"
	"seuss/dispatcher/instances"
	"seuss/dispatcher/instances/archive"
	"seuss/dispatcher/instances/archive/archivetest"
	"seuss/lineage"
)

// body is an instance with no machine behind it: it counts what it is asked for.
type body struct {
	count int
	node  string
	nodes map[string]int // counts, by node; of all bodies of a fake
	files archivetest.Tree
}

// newKeeper keeps instances that need no machine. Their node is one of the fake's store.
func newKeeper(node *string) *instances.Keeper {
	nodes := map[string]int{}
	return instances.New(instances.Options{Make: func(context.Context, string, *instances.Spec) (instances.Body, error) {
		return &body{node: *node, nodes: nodes}, nil
	}})
}

func (b *body) Wait(until time.Time, _ bool, bell <-chan struct{}) instances.End {
	var passed <-chan time.Time
	if !until.IsZero() {
		passed = time.After(time.Until(until))
	}
	select {
	case <-bell:
		return instances.Rung
	case <-passed:
		return instances.Passed
	}
}

func (b *body) Do(ctx context.Context, _ instances.Turn, c *instances.Call) (*instances.Answer, error) {
	b.count++
	if c.Code != nil && *c.Code == "wait" {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	c.Output(1, []byte("hello\n"))
	if c.Code != nil && *c.Code == "fail" {
		return &instances.Answer{Error: &instance.HandlerError{Type: "ValueError", Message: "no", StackTrace: []string{}}}, nil
	}
	return &instances.Answer{Value: json.RawMessage(fmt.Sprint(b.count)), Repr: fmt.Sprint(b.count)}, nil
}

func (b *body) Files(ctx context.Context, _ instances.Turn, steps []archive.Step) ([]archive.Result, error) {
	return b.files.Do(ctx, steps)
}

// Dial connects to what sends all back; nobody listens on port 1.
func (b *body) Dial(_ context.Context, _ instances.Turn, port uint16, _ instances.Output) (instances.Port, error) {
	if port == 1 {
		return nil, &instances.Refusal{Err: fmt.Errorf("nobody listens: %w", lineage.ErrInvalid)}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer l.Close()
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return nil, err
	}
	far, err := l.Accept()
	if err != nil {
		return nil, errors.Join(err, near.Close())
	}
	go func() {
		defer far.Close()
		io.Copy(far, far)
	}()
	return echo{near.(*net.TCPConn)}, nil
}

type echo struct{ *net.TCPConn }

func (echo) WaitOpen() error { return nil }

func (b *body) Memory() (lineage.Memory, error) {
	return lineage.Memory{}, fmt.Errorf("a fake has no memory: %w", lineage.ErrInvalid)
}

func (b *body) Seal() (string, error) { return b.Node(), nil }

func (b *body) Step(context.Context, instances.Turn, instances.Output) error { return nil }

func (b *body) Fork(_ context.Context, _ instances.Turn, names []string) ([]instances.Body, error) {
	list := make([]instances.Body, len(names))
	for at := range list {
		other := *b
		list[at] = &other
	}
	return list, nil
}

func (b *body) Checkpoint(context.Context, instances.Turn) (string, error) {
	b.nodes[b.node] = b.count
	return b.node, nil
}

func (b *body) Rollback(_ context.Context, node string) error {
	count, ok := b.nodes[node]
	if !ok {
		return &instances.Refusal{Err: fmt.Errorf("node %q: %w", node, lineage.ErrNotFound)}
	}
	b.count = count
	return nil
}

func (b *body) Image() string { return "image" }
func (b *body) Node() string  { return b.node }
func (b *body) Bytes() uint64 { return 4096 }
func (b *body) End()          {}
func (b *body) Close()        {}
