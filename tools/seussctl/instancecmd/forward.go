package instancecmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher/http/native/client"
	"seuss/dispatcher/instances"
	"seuss/tools/seussctl/cmdline"
)

func forward(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name: "forward", ArgsUsage: "NAME [LOCAL:]PORT", MinArgs: 2, MaxArgs: 2,
		Usage: "have a local port lead to a port of an instance, until it is interrupted",
		Description: `
A connection to the local port is one to PORT of the instance, from 127.0.0.1, on which a
thread of it has to listen. The instance holds no machine while no bytes come for it, and
one that is paused goes on with the first. LOCAL is PORT where it is left out; 0 is any that
is free. At most 64 connections to an instance are open at a time.`,
		Examples: []string{"seussctl instance forward lab 8000", "seussctl instance forward lab 0:8000"},
		Flags:    []cli.Flag{&cli.StringFlag{Name: "address", Value: "127.0.0.1", Usage: "listen on `IP` of this machine: whoever reaches it reaches the instance"}},
		Action: func(c *cli.Context, e *cmdline.Env) error {
			local, port, err := ports(c.Args().Get(1))
			if err != nil {
				return cmdline.Usagef(c.Command.HelpName, "%w", err)
			}
			if net.ParseIP(c.String("address")) == nil {
				return cmdline.Usagef(c.Command.HelpName, "--address %q: want an IP address", c.String("address"))
			}
			return with(c, e, func(ctx context.Context, l client.Live) error {
				name := c.Args().First()
				if _, err := l.Show(ctx, name); err != nil {
					return err
				}
				at, err := net.Listen("tcp", net.JoinHostPort(c.String("address"), strconv.Itoa(int(local))))
				if err != nil {
					return err
				}
				defer context.AfterFunc(ctx, func() { at.Close() })()
				defer at.Close()
				if e.JSON {
					err = e.PrintJSON(map[string]any{"listening": at.Addr().String(), "name": name, "port": port})
				} else {
					_, err = fmt.Fprintf(e.Stdout, "%s leads to port %d of %s\n", at.Addr(), port, cmdline.Printable(name))
				}
				if err != nil {
					return err
				}
				return serve(ctx, e, at, func(ctx context.Context) (client.Port, error) { return l.Forward(ctx, name, port) })
			})
		},
	})
}

// ports takes [LOCAL:]PORT apart.
func ports(text string) (local, port uint16, err error) {
	near, far, two := strings.Cut(text, ":")
	if !two {
		far = near
	}
	a, err := strconv.ParseUint(near, 10, 16)
	b, bad := strconv.ParseUint(far, 10, 16)
	if err = errors.Join(err, bad); err != nil || b == 0 {
		return 0, 0, fmt.Errorf("%q: want [LOCAL:]PORT, numbers up to 65535, and PORT not 0", text)
	}
	return uint16(a), uint16(b), nil
}

// serve has each connection lead to one that is dialled, until ctx ends; then all end.
func serve(ctx context.Context, e *cmdline.Env, at net.Listener, dial func(context.Context) (client.Port, error)) error {
	var open sync.WaitGroup
	defer open.Wait()
	room := make(chan struct{}, instances.MaxPorts)
	for {
		c, err := at.Accept()
		if ctx.Err() != nil {
			if err == nil {
				c.Close()
			}
			return nil
		}
		if err != nil {
			return err
		}
		select {
		case room <- struct{}{}: // others wait in the listener's queue
		case <-ctx.Done():
			c.Close()
			return nil
		}
		open.Go(func() {
			defer func() { <-room }()
			defer c.Close()
			to, err := dial(ctx)
			if err != nil {
				e.Notef("%v", err)
				return
			}
			defer to.Close()
			defer context.AfterFunc(ctx, func() { c.Close(); to.Close() })()
			both(c.(*net.TCPConn), to)
		})
	}
}

// both copies either way, and ends with both, or when one has failed.
func both(a *net.TCPConn, b client.Port) {
	var wg sync.WaitGroup
	way := func(to interface {
		io.WriteCloser
		CloseWrite() error
	}, from io.ReadCloser) {
		if _, err := io.Copy(to, from); err != nil || to.CloseWrite() != nil {
			to.Close()
			from.Close()
		}
	}
	wg.Go(func() { way(b, a) })
	wg.Go(func() { way(a, b) })
	wg.Wait()
}
