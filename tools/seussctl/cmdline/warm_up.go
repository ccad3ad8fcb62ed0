package cmdline

import (
	"encoding/json"
	"fmt"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher"
	"seuss/dispatcher/bundle"
	"seuss/images/runtimes"
)

func WarmUpFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "warm-up", Usage: "`EVENT` to invoke the function on before the snapshot is taken: JSON or @FILE; may be repeated"},
		&cli.IntFlag{Name: "warm-up-runs", Value: 1, Usage: "go through the warm-up events `N` times"},
	}
}

// ReadWarmUp returns the events that the flags ask for, as often as they do.
func (e *Env) ReadWarmUp(c *cli.Context) ([]json.RawMessage, error) {
	name, values, runs := c.Command.HelpName, c.StringSlice("warm-up"), c.Int("warm-up-runs")
	if c.IsSet("warm-up-runs") && len(values) == 0 {
		return nil, Usagef(name, "--warm-up-runs needs a --warm-up event")
	}
	if runs < 1 || runs*len(values) > dispatcher.MaxWarmUps {
		return nil, Usagef(name, "--warm-up-runs %d: want 1 or more, and at most %d invocations in all", runs, dispatcher.MaxWarmUps)
	}
	var events []json.RawMessage
	for _, value := range values {
		event := []byte(value)
		if value != "" && value[0] == '@' {
			var err error
			if event, err = readEventFile(value[1:]); err != nil {
				return nil, fmt.Errorf("read warm-up event: %w", err)
			}
		}
		if err := checkEvent(event); err != nil {
			return nil, Usagef(name, "warm-up event: %w", err)
		}
		events = append(events, event)
	}
	all := make([]json.RawMessage, 0, runs*len(events))
	for range runs {
		all = append(all, events...)
	}
	return all, nil
}

// baseWarmUp is a driver's runtimes.WarmUpFile.
type baseWarmUp struct {
	Handler string            `json:"handler"`
	Files   map[string][]byte `json:"files"`
	WarmUp  []json.RawMessage `json:"warm_up"`
}

// ReadBaseWarmUp returns the file that an image's driver takes its warm-up from,
// by name; nil if the flags ask for none.
func (e *Env) ReadBaseWarmUp(c *cli.Context, r *runtimes.Runtime) (map[string][]byte, error) {
	name := c.Command.HelpName
	path := c.String("warm-up-code")
	if path == "" {
		for _, flag := range []string{"warm-up-handler", "warm-up", "warm-up-runs"} {
			if c.IsSet(flag) {
				return nil, Usagef(name, "--%s needs --warm-up-code, the function to invoke", flag)
			}
		}
		return nil, nil
	}
	files, handler, err := bundle.Load(path)
	if err != nil {
		return nil, err
	}
	if found := runtimes.ByFiles(files); found != r {
		return nil, Usagef(name, "--warm-up-code %s: it is for %s, the image has %s", path, found.Title, r.Title)
	}
	if c.IsSet("warm-up-handler") {
		handler = c.String("warm-up-handler")
	}
	if handler == "" {
		return nil, Usagef(name, "%s holds more than one module at its top; say which with --warm-up-handler MODULE.FUNCTION", path)
	}
	events, err := e.ReadWarmUp(c)
	if err != nil {
		return nil, err
	}
	if len(events) == 0 {
		events = []json.RawMessage{[]byte("{}")}
	}
	doc, err := json.Marshal(baseWarmUp{Handler: handler, Files: files, WarmUp: events})
	if err != nil {
		return nil, fmt.Errorf("warm-up of the image: %w", err)
	}
	return map[string][]byte{runtimes.WarmUpFile: doc}, nil
}
