package dispatcher

import (
	"context"
	"encoding/json"
	"fmt"
	"seuss/dispatcher/functions"
	"time"

	"seuss/dispatcher/instance"
)

// warmUp invokes a function that has just been loaded on the events that came
// with its code. What the function does lazily at its first use is then in the
// node that is captured next (SEUSS calls it anticipatory optimisation).
func (d *Dispatcher) warmUp(ctx context.Context, l *instance.Instance, spec *functions.Function, code []byte) error {
	var request loadRequest
	if err := json.Unmarshal(code, &request); err != nil {
		return fmt.Errorf("code of function %q: %w", spec.Name, err)
	}
	if len(request.WarmUp) == 0 {
		return nil
	}
	img, err := d.catalog.image(nameOrDefault(spec.Image))
	if err != nil {
		return err
	}
	f := &function{spec: *spec, image: img}
	for n, raw := range request.WarmUp {
		e, err := f.event(raw)
		if err != nil {
			return fmt.Errorf("warm-up event %d: %w", n+1, err)
		}
		i := d.newInvocation(f, e, &Request{}, time.Now())
		session := l.Converse(ctx, i.deadline)
		_, err = i.send(session)
		if err = session.Close(err); err != nil {
			return fmt.Errorf("warm-up event %d: %w", n+1, err)
		}
	}
	l.Logs() // nobody asked for what it printed
	return nil
}
