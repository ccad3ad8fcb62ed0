package program

import (
	"context"
	"errors"
	"fmt"
	"time"

	"seuss/dispatcher/instance"
	"seuss/guest"
	"seuss/lineage"
	"seuss/vmm/vsock"
)

// Programs that live on are typed to: what is written to their standard input has no end, and
// what they print in answer is over when they wait for more.

// meet takes the stream of standard input, once, whenever the program asks for it.
func meet(i *instance.Instance) {
	i.Meet(func(c *vsock.Conn) error {
		if c.HostPort() != guest.StdinPort || i.Kept() != nil {
			return errors.New("a program has its standard input, once")
		}
		i.Keep(c)
		return nil
	})
}

// enter writes text to the program, and runs it until it has read all of that and waits for more.
func enter(ctx context.Context, i *instance.Instance, text []byte, deadline time.Time) error {
	in, before := i.Kept(), instance.InputOf(i)
	if in == nil || !before.Open || in.Ended() {
		return fmt.Errorf("the program does not read its standard input: it has not asked for it yet, or has closed it: %w", lineage.ErrInvalid)
	}
	if err := in.Send(text); err != nil {
		return fmt.Errorf("the program does not read its standard input any more: %w: %w", err, lineage.ErrInvalid)
	}
	want := (before.Taken + uint32(len(text))) & guest.InputTaken
	return i.Until(ctx, deadline, func() bool {
		now := instance.InputOf(i)
		return now.Waited && now.Taken == want
	})
}
