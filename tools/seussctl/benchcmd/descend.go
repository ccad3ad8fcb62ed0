package benchcmd

import (
	"context"
	"fmt"
	"time"
)

const (
	descentName      = "sgd"
	redisDescentName = "redis-sgd"
	descent          = "SGD of 8 functions, regions"
	descentRedis     = "SGD of 8 functions, Redis"
)

// descend measures a stochastic gradient descent by functions that share their matrix and their
// weights, and the same by way of Redis.
func (w *stateWork) descend(ctx context.Context) error {
	event := map[string]any{"rows": 8000, "features": 1024, "workers": 8, "epochs": 2, "port": redisPort}
	for _, f := range []struct{ function, name string }{{descentName, descent}, {redisDescentName, descentRedis}} {
		if f.function == redisDescentName && !w.redis {
			continue
		}
		var told struct {
			Losses []float64
			Moved  int64
		}
		began := time.Now()
		if _, err := w.invoke(ctx, f.function, event, &told); err != nil {
			return err
		}
		w.add(f.name, time.Since(began))
		if n := len(told.Losses); n < 2 || told.Losses[n-1] > told.Losses[0]/2 {
			return fmt.Errorf("%s does not descend: mean square errors %v", f.name, told.Losses)
		}
		w.report.MovedRedis = told.Moved
	}
	return nil
}
