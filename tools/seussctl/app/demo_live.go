package app

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"seuss/dispatcher/functions"
	"seuss/dispatcher/instances"
	"seuss/tools/seussctl/cmdline"
)

// demoForks is what became of a live interpreter that was forked.
type demoForks struct {
	Copies    int     `json:"copies"`
	Different int     `json:"different"` // results
	TookUS    float64 `json:"took_us"`   // for all copies to their results
	First     string  `json:"first"`
}

// demoCopies is how often it is forked.
const demoCopies = 100

// forkDemo has copies of a live interpreter go on from what it was told, each with random
// numbers of its own.
func forkDemo(ctx context.Context, d cmdline.Service) (_ *demoForks, err error) {
	l, ok := d.(interface{ Live() *instances.Keeper })
	if !ok {
		return nil, cmdline.ErrServed
	}
	k, owner := l.Live(), functions.DefaultOwner
	info, err := k.Create(ctx, owner, instances.Spec{Image: cmdline.DefaultImage})
	if err != nil {
		return nil, err
	}
	exec := func(name, code string) (json.RawMessage, error) {
		i, err := k.Get(owner, name)
		if err != nil {
			return nil, err
		}
		a, err := i.Do(ctx, &instances.Call{Code: &code})
		if err == nil && a.Error != nil {
			err = a.Error
		}
		if err != nil {
			return nil, err
		}
		return a.Value, nil
	}
	if _, err := exec(info.Name, "import random\nseen = list(range(10))"); err != nil {
		return nil, err
	}
	i, err := k.Get(owner, info.Name)
	if err != nil {
		return nil, err
	}
	defer i.Remove()
	began := time.Now()
	list, err := i.Fork(ctx, demoCopies, nil)
	if err != nil {
		return nil, err
	}
	results := map[string]bool{}
	got := &demoForks{Copies: len(list)}
	for _, copied := range list {
		value, err := exec(copied.Name, "random.shuffle(seen); [len(seen), random.random()]")
		if err != nil {
			return nil, fmt.Errorf("copy %s: %w", copied.Name, err)
		}
		if got.First == "" {
			got.First = string(value)
		}
		results[string(value)] = true
	}
	got.TookUS = float64(time.Since(began)) / float64(time.Microsecond)
	got.Different = len(results)
	for _, copied := range list {
		if c, err := k.Get(owner, copied.Name); err == nil {
			c.Remove()
		}
	}
	if got.Different != got.Copies {
		return nil, fmt.Errorf("%d copies of a live interpreter have %d different results", got.Copies, got.Different)
	}
	return got, nil
}
