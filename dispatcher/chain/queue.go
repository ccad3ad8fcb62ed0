package chain

import (
	"cmp"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// queue has the calls of a function that have not begun.
type queue struct {
	c        *Chains
	function string
	waiting  waiting
	asking   int // for a turn
}

// waiting is a heap of calls: those that are deeper in their chains come first, or callers that
// wait would be many before one of them can end.
type waiting []*call

func (w waiting) Len() int { return len(w) }
func (w waiting) Less(a, b int) bool {
	return cmp.Or(cmp.Compare(len(w[b].call.Above), len(w[a].call.Above)), cmp.Compare(w[a].order, w[b].order)) < 0
}
func (w waiting) Swap(a, b int) {
	w[a], w[b] = w[b], w[a]
	w[a].at, w[b].at = a, b
}
func (w *waiting) Push(k any) {
	k.(*call).at = len(*w)
	*w = append(*w, k.(*call))
}
func (w *waiting) Pop() any {
	last := len(*w) - 1
	k := (*w)[last]
	(*w)[last] = nil
	*w = (*w)[:last]
	k.at = -1
	return k
}

// enqueue has a call wait for its function. mu is held.
func (c *Chains) enqueue(k *call) {
	q := c.queues[k.call.Function]
	if q == nil {
		q = &queue{c: c, function: k.call.Function}
		c.queues[k.call.Function] = q
	}
	k.queue = q
	if !k.call.Deadline.IsZero() {
		k.late = time.AfterFunc(time.Until(k.call.Deadline), k.tooLate)
	}
	heap.Push(&q.waiting, k)
	c.stats.Waiting++
	q.dispatch()
}

// leave takes a call that waits out of its queue. mu is held.
func (q *queue) leave(k *call) {
	heap.Remove(&q.waiting, k.at)
	q.c.stats.Waiting--
	q.dispatch()
}

// dispatch has calls ask. mu is held.
func (q *queue) dispatch() {
	for q.asking < q.c.o.Asking && len(q.waiting) > 0 {
		k := heap.Pop(&q.waiting).(*call)
		q.asking++
		ctx, cancel := context.WithCancelCause(k.context)
		k.cancel = cancel
		run := q.c.o.Run
		q.c.work.Go(func() { k.run(ctx, run) })
	}
	if q.asking == 0 && len(q.waiting) == 0 {
		delete(q.c.queues, q.function)
	}
}

// How long to wait before what was refused is tried again.
const (
	firstPause = 10 * time.Millisecond
	maxPause   = time.Second
)

// run runs the call and ends it.
func (k *call) run(ctx context.Context, run func(ctx context.Context, c *Call, began func()) ([]byte, error)) {
	defer k.cancel(nil)
	began := sync.OnceFunc(func() {
		k.c.mu.Lock()
		defer k.c.mu.Unlock()
		if k.late != nil {
			k.late.Stop() // from here on the instance's own deadline counts
		}
		k.begun = true
		k.c.stats.Waiting--
		k.queue.asking--
		k.queue.dispatch()
	})
	var out []byte
	var err, refused error
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		out, err = run(ctx, &k.call, began)
		var again *Refusal
		if !errors.As(err, &again) {
			break
		}
		refused = again.Err
		select {
		case <-time.After(pause):
			continue
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		break
	}
	if cause := context.Cause(ctx); err != nil && cause != nil {
		var own *Failure
		if !errors.As(err, &own) || errors.Is(cause, ErrCancelled) {
			err = cause
		}
		if refused != nil && errors.Is(cause, ErrTimeout) {
			err = fmt.Errorf("%w (it was refused: %w)", err, refused)
		}
	}
	began()
	k.c.mu.Lock()
	defer k.c.mu.Unlock()
	k.finish(out, err)
}

// errLate ends a call that has not begun.
var errLate = fmt.Errorf("%w before its turn came: %w", ErrTimeout, context.DeadlineExceeded)

// tooLate is when its deadline is there.
func (k *call) tooLate() {
	k.c.mu.Lock()
	defer k.c.mu.Unlock()
	switch {
	case k.over || k.begun:
	case k.cancel != nil:
		k.cancel(errLate)
	default:
		k.queue.leave(k)
		k.finish(nil, errLate)
	}
}
