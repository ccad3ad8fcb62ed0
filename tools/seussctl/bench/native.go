package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"seuss/tools/seussctl/samples/languages"
)

// Bounds of a program that is started natively.
const (
	nativeTimeout = time.Minute
	nativePoll    = 500 * time.Microsecond // between two attempts to connect to it
)

// Native is a program as it is started on this machine without a guest.
type Native struct {
	Program *languages.Program
	Files   map[string][]byte // of its code
	Event   string            // JSON; of servers nothing

	dir string
	n   int // starts
}

// NewNative makes room for the program's files.
func NewNative(p *languages.Program, files map[string][]byte, event string) (*Native, error) {
	dir, err := os.MkdirTemp("", "seuss-native-")
	if err != nil {
		return nil, fmt.Errorf("make directory of %s: %w", p.Name, err)
	}
	return &Native{Program: p, Files: files, Event: event, dir: dir}, nil
}

// Close removes the files.
func (n *Native) Close() error { return os.RemoveAll(n.dir) }

// Start starts the program anew, has it answer once, calls answered, and ends it.
func (n *Native) Start(ctx context.Context, answered func()) (err error) {
	ctx, cancel := context.WithTimeout(ctx, nativeTimeout)
	defer cancel()
	switch n.Program.Contract {
	case "http":
		end, ask, err := n.Serve(ctx)
		if err == nil {
			defer end()
			err = ask(ctx)
			answered()
		}
		return err
	case "runtimeapi":
		return n.event(ctx, answered)
	}
	c, err := n.command(0)
	if err != nil {
		return err
	}
	var out, said bytes.Buffer
	c.Stdin, c.Stdout, c.Stderr = strings.NewReader(n.Event), &out, &said
	if err = c.Start(); err == nil {
		stop := context.AfterFunc(ctx, func() { _ = c.Process.Kill() }) // it may have ended
		err = c.Wait()
		stop()
	}
	answered()
	if err != nil || out.Len() == 0 {
		return fmt.Errorf("natively %s answers %q: %w: %s", n.Program.Name, out.Bytes(), err, said.Bytes())
	}
	return nil
}

// command is the program, in a directory of its own.
func (n *Native) command(port uint16, environment ...string) (*exec.Cmd, error) {
	n.n++
	return n.Program.Native(filepath.Join(n.dir, fmt.Sprint(n.n)), n.Files, port, environment...)
}

// Serve starts a server; ask has it answer on a connection of its own.
func (n *Native) Serve(ctx context.Context) (end func(), ask func(context.Context) error, err error) {
	ctx, cancel := context.WithTimeout(ctx, nativeTimeout)
	defer cancel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	port := uint16(l.Addr().(*net.TCPAddr).Port)
	l.Close()
	c, err := n.command(port, fmt.Sprintf("PORT=%d", port))
	if err != nil {
		return nil, nil, err
	}
	end, err = started(c)
	if err != nil {
		return nil, nil, err
	}
	request := n.Program.Requests[0]
	client := http.Client{Timeout: nativeTimeout, Transport: &http.Transport{DisableKeepAlives: true}}
	ask = func(ctx context.Context) error {
		r, err := http.NewRequestWithContext(ctx, request.Method, fmt.Sprintf("http://127.0.0.1:%d%s", port, request.Path), strings.NewReader(request.Body))
		if err != nil {
			return err
		}
		answer, err := client.Do(r)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		if _, err := io.Copy(io.Discard, answer.Body); err != nil || answer.StatusCode != http.StatusOK {
			return errors.Join(fmt.Errorf("natively %s answers %s", n.Program.Name, answer.Status), err)
		}
		return nil
	}
	for {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			return end, ask, c.Close()
		}
		select {
		case <-ctx.Done():
			end()
			return nil, nil, fmt.Errorf("natively %s does not listen: %w", n.Program.Name, err)
		case <-time.After(nativePoll):
		}
	}
}

// started starts a command that ends with what it returns.
func started(c *exec.Cmd) (end func(), err error) {
	if err := c.Start(); err != nil {
		return nil, err
	}
	return func() {
		_ = c.Process.Kill()
		_ = c.Wait() // it was killed
	}, nil
}

// event gives a bootstrap its event by a Runtime API of this process.
func (n *Native) event(ctx context.Context, answered func()) error {
	const id = "8476a536-e9f4-11e8-9739-2dfe598c3fcd"
	given, done := make(chan struct{}, 1), make(chan error, 1)
	given <- struct{}{}
	report := func(err error) {
		select {
		case done <- err:
		default: // the first one counts
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	api := http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch _, what, _ := strings.Cut(r.URL.Path, "/runtime/invocation/"); what {
		case "next":
			select {
			case <-given:
			case <-r.Context().Done():
				return
			}
			w.Header().Set("Lambda-Runtime-Aws-Request-Id", id)
			w.Header().Set("Lambda-Runtime-Deadline-Ms", fmt.Sprint(time.Now().Add(nativeTimeout).UnixMilli()))
			_, _ = io.WriteString(w, n.Event) // who has gone does not answer
		case id + "/response":
			_, err := io.Copy(io.Discard, r.Body)
			w.WriteHeader(http.StatusAccepted)
			report(err)
		default:
			report(fmt.Errorf("natively %s asks for %s", n.Program.Name, r.URL.Path))
		}
	})}
	go func() { _ = api.Serve(l) }() // until Close
	defer api.Close()
	c, err := n.command(0, "AWS_LAMBDA_RUNTIME_API="+l.Addr().String(), "AWS_LAMBDA_FUNCTION_NAME="+n.Program.Name)
	if err != nil {
		return err
	}
	end, err := started(c)
	if err != nil {
		return err
	}
	defer end()
	select {
	case err = <-done:
	case <-ctx.Done():
		err = fmt.Errorf("natively %s has not answered: %w", n.Program.Name, ctx.Err())
	}
	answered()
	return err
}
