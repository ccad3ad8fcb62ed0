// Package instancecmd is seussctl instance: instances that live on in the daemon. What they
// are is in package dispatcher/instances; here are flags and tables.
//
// Ownership and locks: as in package cmdline.
package instancecmd

import (
	"context"
	"errors"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher/http/native/client"
	"seuss/tools/seussctl/cmdline"
)

// InstanceGroup returns seussctl instance.
func InstanceGroup(e *cmdline.Env) *cli.Command {
	return e.Group("instance", "instances that live on: with state between two uses, forked, rolled back",
		create(e), ls(e), show(e), exec(e), invoke(e), logs(e), cp(e), forward(e), pause(e), resume(e), fork(e), checkpoint(e), rollback(e), diff(e), wait(e), rm(e))
}

// errNoDaemon: an instance lives as long as the process that keeps it.
var errNoDaemon = errors.New("no daemon serves this state directory, and instances live in one: start seussctl serve")

// with does something with the daemon's instances.
func with(c *cli.Context, e *cmdline.Env, do func(ctx context.Context, l client.Live) error) (err error) {
	d := e.Daemon()
	if d == nil {
		return errNoDaemon
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	return do(c.Context, d.Live)
}
