package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"seuss/dispatcher/api"
	"seuss/dispatcher/instance"
	"seuss/dispatcher/instances"
)

// Live is a Client's way to instances that live on.
type Live struct{ c *Client }

func instancePath(name string, verb ...string) string {
	return strings.Join(append([]string{"/v1/instances", url.PathEscape(name)}, verb...), "/")
}

// Create makes one.
func (l Live) Create(ctx context.Context, s instances.Spec) (instances.Info, error) {
	return call[instances.Info](ctx, l.c, "POST", "/v1/instances", s)
}

// List lists them.
func (l Live) List(ctx context.Context) ([]instances.Info, error) {
	return call[[]instances.Info](ctx, l.c, "GET", "/v1/instances", nil)
}

// Show describes one.
func (l Live) Show(ctx context.Context, name string) (instances.Info, error) {
	return call[instances.Info](ctx, l.c, "GET", instancePath(name), nil)
}

// Remove ends one.
func (l Live) Remove(ctx context.Context, name string) error {
	return do(ctx, l.c, "DELETE", instancePath(name), nil)
}

// Invoke has its handler handle an event.
func (l Live) Invoke(ctx context.Context, name string, c instances.Call) (*instances.Answer, error) {
	return call[*instances.Answer](ctx, l.c, "POST", instancePath(name, "invoke"), c)
}

// Exec has it run code; output is told what is printed, as it is.
func (l Live) Exec(ctx context.Context, name string, c instances.Call, output func(instance.LogLine)) (*instances.Answer, error) {
	b, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	answer, err := l.c.open(ctx, "POST", instancePath(name, "exec")+"?stream=true", "application/json", strings.NewReader(string(b)))
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	d := json.NewDecoder(answer.Body)
	for {
		var p api.Piece
		switch err := d.Decode(&p); {
		case err != nil:
			return nil, fmt.Errorf("the daemon's answer: %w", err)
		case p.Output != nil:
			output(*p.Output)
		case p.Error != nil:
			return nil, p.Error.Err()
		case p.Answer != nil:
			p.Answer.Cut = p.Answer.Cut || p.Lost > 0
			return p.Answer, nil
		}
	}
}

// Files is a tar archive of what is at an absolute path of an instance, a directory with all
// below it. One that breaks off is an error of its reader's.
func (l Live) Files(ctx context.Context, name, path string) (io.ReadCloser, error) {
	answer, err := l.c.open(ctx, "GET", instancePath(name, "files")+"?path="+url.QueryEscape(path), "", nil)
	if err != nil {
		return nil, err
	}
	return answer.Body, nil
}

// PutFiles unpacks a tar archive in an absolute path of an instance, or as that, where it is
// no directory.
func (l Live) PutFiles(ctx context.Context, name, path string, archive io.Reader) error {
	answer, err := l.c.open(ctx, "PUT", instancePath(name, "files")+"?path="+url.QueryEscape(path), "application/x-tar", archive)
	if err != nil {
		return err
	}
	return answer.Body.Close()
}

// Diff says where its memory differs from that of another instance or a snapshot; "": of
// the one that it began as, or was checkpointed at or rolled back to last.
func (l Live) Diff(ctx context.Context, name, with string, symbols int) (*api.Difference, error) {
	return call[*api.Difference](ctx, l.c, "GET", instancePath(name, "diff")+"?with="+url.QueryEscape(with)+"&symbols="+strconv.Itoa(symbols), nil)
}

// Port is a connection to a port of an instance.
type Port interface {
	io.ReadWriteCloser
	CloseWrite() error
}

// Forward connects to a TCP port of an instance. ctx is for that alone.
func (l Live) Forward(ctx context.Context, name string, port uint16) (Port, error) {
	alone, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer context.AfterFunc(ctx, cancel)()
	request, err := http.NewRequestWithContext(alone, "POST", "http://seuss"+instancePath(name, "forward")+"?port="+strconv.Itoa(int(port)), nil)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("ask the daemon: %w", err)
	}
	request.Header.Set("Connection", "Upgrade")
	request.Header.Set("Upgrade", "tcp")
	answer, err := l.c.http.Do(request)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("ask the daemon: %w", whyEnded(ctx, err))
	}
	p, ok := answer.Body.(Port)
	if answer.StatusCode == http.StatusSwitchingProtocols && ok {
		return p, nil
	}
	defer cancel()
	defer answer.Body.Close()
	return nil, refusal(answer)
}

// Pause has it stand still, and Resume go on. Durable: it comes back as it is then, whatever
// becomes of the daemon, until it goes on.
func (l Live) Pause(ctx context.Context, name string, durable bool) (instances.Info, error) {
	return call[instances.Info](ctx, l.c, "POST", instancePath(name, "pause")+"?durable="+strconv.FormatBool(durable), nil)
}

// Resume has it go on.
func (l Live) Resume(ctx context.Context, name string) (instances.Info, error) {
	return call[instances.Info](ctx, l.c, "POST", instancePath(name, "resume"), nil)
}

// Fork makes others of it.
func (l Live) Fork(ctx context.Context, name string, ask api.Fork) ([]instances.Info, error) {
	return call[[]instances.Info](ctx, l.c, "POST", instancePath(name, "fork"), ask)
}

// Checkpoint makes a node of what it is.
func (l Live) Checkpoint(ctx context.Context, name string, ask api.Checkpoint) (*api.Snapshot, error) {
	return call[*api.Snapshot](ctx, l.c, "POST", instancePath(name, "checkpoint"), ask)
}

// Rollback makes it what it was at a node.
func (l Live) Rollback(ctx context.Context, name, node string) (instances.Info, error) {
	return call[instances.Info](ctx, l.c, "POST", instancePath(name, "rollback"), api.Rollback{Node: node})
}

// Wait waits until it is in a state; "": until it does nothing any more.
func (l Live) Wait(ctx context.Context, name, state string) (instances.Info, error) {
	return call[instances.Info](ctx, l.c, "GET", instancePath(name, "wait")+"?state="+url.QueryEscape(state), nil)
}

// Logs is what it has printed last.
func (l Live) Logs(ctx context.Context, name string) ([]instance.LogLine, error) {
	return call[[]instance.LogLine](ctx, l.c, "GET", instancePath(name, "logs"), nil)
}

// Follow is Logs, and tells what it prints from then on, until it is gone or ctx ends.
func (l Live) Follow(ctx context.Context, name string, output func(instance.LogLine)) error {
	answer, err := l.c.open(ctx, "GET", instancePath(name, "logs")+"?follow=true", "", nil)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, 1<<20)
	event := ""
	for lines.Scan() {
		field, value, _ := strings.Cut(lines.Text(), ": ")
		switch {
		case field == "event":
			event = value
		case field == "data" && event == "end":
			return nil
		case field == "data":
			var line instance.LogLine
			if err := json.Unmarshal([]byte(value), &line); err != nil {
				return fmt.Errorf("the daemon's answer: %w", err)
			}
			output(line)
		}
	}
	if err := lines.Err(); err != nil && !errors.Is(ctx.Err(), context.Canceled) {
		return fmt.Errorf("the daemon's answer: %w", err)
	}
	return nil
}
