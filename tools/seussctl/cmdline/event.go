package cmdline

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher"
)

func EventFlag() cli.Flag {
	return &cli.StringFlag{Name: "event", Aliases: []string{"e"}, Value: "{}", Usage: "`EVENT` for the handler: JSON, @FILE, or - for standard input"}
}

func TimeoutFlag() cli.Flag {
	return &cli.DurationFlag{Name: "timeout", Value: dispatcher.DefaultTimeout, Usage: "kill the function after `DURATION`"}
}

// ReadEvent returns the event that a value of --event stands for. It is not
// the command line's fault if a file cannot be read, but it is if what is
// given is not JSON.
func (e *Env) ReadEvent(c *cli.Context) ([]byte, error) {
	name := c.Command.HelpName
	value := c.String("event")
	var event []byte
	var err error
	switch {
	case value == "-":
		if event, err = io.ReadAll(io.LimitReader(e.Stdin, dispatcher.MaxEventBytes+1)); err != nil {
			return nil, fmt.Errorf("read event from standard input: %w", err)
		}
	case len(value) > 0 && value[0] == '@':
		if event, err = readEventFile(value[1:]); err != nil {
			return nil, fmt.Errorf("read event: %w", err)
		}
	default:
		event = []byte(value)
	}
	if err := checkEvent(event); err != nil {
		return nil, &UsageError{Command: name, Err: fmt.Errorf("event: %w", err)}
	}
	return event, nil
}

func readEventFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, dispatcher.MaxEventBytes+1))
}

// checkEvent says what is wrong with an event before a machine is troubled.
func checkEvent(event []byte) error {
	if len(event) > dispatcher.MaxEventBytes {
		return fmt.Errorf("more than %d bytes, the most that an invocation takes", dispatcher.MaxEventBytes)
	}
	if len(bytes.TrimSpace(event)) == 0 {
		return errors.New("empty; an event without content is {}")
	}
	var doc json.RawMessage
	err := json.Unmarshal(event, &doc)
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Errorf("not JSON: %w at byte %d", err, syntax.Offset)
	} else if err != nil {
		return fmt.Errorf("not JSON: %w", err)
	}
	return nil
}

// CheckTimeout refuses limits that would kill every invocation.
func CheckTimeout(c *cli.Context) error {
	if d := c.Duration("timeout"); d <= 0 {
		return Usagef(c.Command.HelpName, "--timeout %v: want more than 0", d)
	}
	return nil
}
