// Package statecmd is seussctl state: what functions share by key, in the daemon. What is
// promised of it is in package dispatcher/state; here are flags and tables.
//
// Ownership and locks: as in package cmdline.
package statecmd

import (
	"context"
	"errors"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher/http/native/client"
	"seuss/tools/seussctl/cmdline"
)

// StateGroup returns seussctl state.
func StateGroup(e *cmdline.Env) *cli.Command {
	return e.Group("state", "values that functions share, by key",
		ls(e), get(e), put(e), rm(e), watch(e), push(e), pull(e), stats(e))
}

// errNoDaemon: values are in the memory of the process that keeps them.
var errNoDaemon = errors.New("no daemon serves this state directory, and values that functions share are in its memory: start seussctl serve")

// with does something with the daemon's state.
func with(c *cli.Context, e *cmdline.Env, do func(ctx context.Context, s client.State) error) (err error) {
	d := e.Daemon()
	if d == nil {
		return errNoDaemon
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	return do(c.Context, d.State)
}
