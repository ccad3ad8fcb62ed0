package app

import (
	"encoding/json"
	"fmt"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher"
)

func warmUpFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "warm-up", Usage: "`EVENT` to invoke the function on before its snapshot is taken: JSON or @FILE; may be repeated"},
		&cli.IntFlag{Name: "warm-up-runs", Value: 1, Usage: "go through the warm-up events `N` times"},
	}
}

// readWarmUp returns the events that the flags ask for, as often as they do.
func (e *env) readWarmUp(c *cli.Context) ([]json.RawMessage, error) {
	name, values, runs := c.Command.HelpName, c.StringSlice("warm-up"), c.Int("warm-up-runs")
	if c.IsSet("warm-up-runs") && len(values) == 0 {
		return nil, usagef(name, "--warm-up-runs needs a --warm-up event")
	}
	if runs < 1 || runs*len(values) > dispatcher.MaxWarmUps {
		return nil, usagef(name, "--warm-up-runs %d: want 1 or more, and at most %d invocations in all", runs, dispatcher.MaxWarmUps)
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
			return nil, usagef(name, "warm-up event: %w", err)
		}
		events = append(events, event)
	}
	all := make([]json.RawMessage, 0, runs*len(events))
	for range runs {
		all = append(all, events...)
	}
	return all, nil
}
