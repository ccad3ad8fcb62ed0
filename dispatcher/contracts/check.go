package contracts

import (
	"fmt"
	"path"

	"seuss/dispatcher/functions"
	"seuss/lineage"
)

// Asked is what a deployment asks for besides its code.
type Asked struct {
	Lazy    bool
	Imports int // modules
	WarmUps int // events
}

// Check refuses by name what the contract does not have, and a program that it cannot
// run. The error matches lineage.ErrInvalid.
func (c *Contract) Check(f *functions.Function, files map[string][]byte, asked Asked) error {
	if err := c.check(f, files, asked); err != nil {
		return fmt.Errorf("%w: %w", err, lineage.ErrInvalid)
	}
	for _, name := range c.Reserved {
		if _, taken := f.Settings.Environment[name]; taken {
			return fmt.Errorf("environment variable %s is set by the %s contract: %w", name, c.Name, lineage.ErrInvalid)
		}
	}
	return nil
}

// HandlerOf is what a program's record has for a handler where none is named.
func HandlerOf(p *functions.Program) string { return path.Base(p.Command[0]) }

func (c *Contract) check(f *functions.Function, files map[string][]byte, asked Asked) error {
	p := f.Settings.Program
	lacks := func(what, why string) error {
		return fmt.Errorf("%s: the %s contract has no such thing: %s", what, c.Name, why)
	}
	switch {
	case asked.Lazy && !c.Arguments:
		return lacks("lazy arguments", "a program is given its whole request")
	case asked.Imports > 0 && !c.Imports:
		return lacks("imports", "only drivers of runtimes import modules")
	case asked.WarmUps > 0 && !c.WarmUps:
		return lacks("warm-up events", "the program is captured when it is ready for its first request")
	case p == nil && c.Await == nil:
		return nil
	case p == nil || c.Await == nil:
		return fmt.Errorf("the %s contract is not that of a program", c.Name)
	}
	if err := p.Check(); err != nil {
		return err
	}
	if own := f.Settings.Container; own != nil {
		if err := own.Check(); err != nil {
			return err
		}
	}
	switch {
	case f.Handler != "" && f.Handler != HandlerOf(p) && !c.Handler:
		return lacks("a handler", "its command is what is run")
	case p.Port == 0 && c.Port:
		return fmt.Errorf("the %s contract needs the port that the program listens on", c.Name)
	case p.Port != 0 && !c.Port:
		return lacks("a port", "requests do not reach the program as connections")
	case p.ReadyPath != "" && !c.Port:
		return lacks("a ready path", c.Ready)
	}
	if command := p.Command[0]; command[0] != '/' {
		if _, ok := files[command]; !ok {
			return fmt.Errorf("its code has no file %q", command)
		}
	}
	return nil
}
