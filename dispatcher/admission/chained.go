package admission

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"seuss/dispatcher"
	"seuss/dispatcher/chain"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/sched"
)

// Chained is chain.Options.Run: what a function has called is let in as what a client asks
// for, but that it is let in while the service drains, and tried again where it is refused
// for want of room.
func (c *Control) Chained(ctx context.Context, call *chain.Call, began func()) ([]byte, error) {
	entry, err := c.enter(call.Function, c.o.Scheduler.AskWithin)
	if err != nil {
		return nil, refusal(c.tooFew(call, err))
	}
	defer entry.End(ctx)
	if err := circle(entry.target, call); err != nil {
		return nil, err
	}
	request := dispatcher.Chained(call, began)
	result, err := entry.Invoke(ctx, &request)
	return dispatcher.Outcome(result, refusal(err))
}

// circle refuses what could begin only when an invocation that waits for it has ended.
func circle(target *dispatcher.Deployment, call *chain.Call) error {
	n := 0
	for _, above := range call.Above {
		if above == target.Base() {
			n++
		}
	}
	if target.Limit > 0 && n >= target.Limit {
		return fmt.Errorf("%d of its invocations wait for this one, and no more may run at a time (its concurrency): %w", n, chain.ErrDeadlock)
	}
	return nil
}

// tooFew names what is behind a refusal where all instances that an owner may have are above
// the call in its chain: none of them ends before it has begun.
func (c *Control) tooFew(call *chain.Call, err error) error {
	var refused *sched.RefusedError
	if !errors.As(err, &refused) || refused.Reason != sched.OwnerInstances {
		return err
	}
	owner := functions.OwnerOf(call.Function)
	if most := c.o.Quotas.Instances(owner); most == 0 || len(call.Above) < most {
		return err
	}
	return fmt.Errorf("%d invocations wait for this one, and no more instances may be at a time of owner %q (seussctl owner set --instances): %w", len(call.Above), owner, chain.ErrDeadlock)
}

// refusal says whether what was refused is worth another attempt.
func refusal(err error) error {
	var refused *sched.RefusedError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, dispatcher.ErrUnknownFunction):
		return fmt.Errorf("%w: %w", chain.ErrNotFound, err)
	case !errors.As(err, &refused):
		return err
	case refused.Reason == sched.FunctionLimit, refused.Reason == sched.OwnerTime:
		return fmt.Errorf("%w: %w", chain.ErrRefused, err)
	}
	return &chain.Refusal{Err: err}
}

// inChain says in the log where an invocation stands in a chain.
func inChain(r *dispatcher.Request) slog.Attr {
	if r.Link == nil {
		return slog.Attr{} // which handlers leave out
	}
	return slog.Group("", slog.String("parent", r.Link.Parent), slog.String("root", r.Link.Root))
}
