package plan

import (
	"context"
	"fmt"
)

type pauseKey struct{}

// Pausing returns a context with which a fit calls f between its steps, which take
// milliseconds. f may sleep, so that a fit takes only a share of a processor.
func Pausing(ctx context.Context, f func()) context.Context {
	return context.WithValue(ctx, pauseKey{}, f)
}

// pause is called between the steps of a fit.
func pause(ctx context.Context) error {
	if f, ok := ctx.Value(pauseKey{}).(func()); ok {
		f()
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("fit a tree: %w", err)
	}
	return nil
}
