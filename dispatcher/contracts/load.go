package contracts

import (
	"cmp"
	"encoding/json"
	"maps"
	"path"
	"slices"

	"seuss/dispatcher/functions"
	"seuss/images/runtimes"
)

// Load is the payload of LOAD (guest/abi/driver.h), and the form in which code is stored.
type Load struct {
	Handler string            `json:"handler"` // that a driver calls
	Files   map[string][]byte `json:"files"`   // encoding/json writes them in base64, keys sorted
	// Environment is set before the code is imported, or added to what a program finds.
	Environment map[string]string `json:"environment,omitempty"`
	// WarmUp are events on which the function is invoked before its node is
	// captured. They are the dispatcher's business; the driver reads past them.
	WarmUp []json.RawMessage `json:"warm_up,omitempty"`

	// Command is what the loader becomes in Dir, after it has written Files below TaskRoot,
	// each of them executable. Its first word is an absolute path. A driver is sent neither.
	Command []string `json:"command,omitempty"`
	Dir     string   `json:"dir,omitempty"`
	// Contract, Port and ReadyPath say how the program is known to be ready: with them in
	// the code its digest says what a node was made by. The loader reads past them.
	Contract  string `json:"contract,omitempty"`
	Port      uint16 `json:"port,omitempty"`
	ReadyPath string `json:"ready_path,omitempty"`
	// SharedGenerators is here for the same reason: without it the node of a program that
	// was taken with leave would be found for one that has none.
	SharedGenerators bool `json:"allow_shared_generators,omitempty"`
	// Snapshot is the node of an instance whose code it is: there are no files, and the
	// handler is looked for in what is loaded.
	Snapshot string `json:"snapshot,omitempty"`
}

// Document is what the loader is told of a program.
func (c *Contract) Document(f *functions.Function, files map[string][]byte) Load {
	p := f.Settings.Program
	command := slices.Clone(p.Command)
	if !path.IsAbs(command[0]) {
		command[0] = path.Join(TaskRoot, command[0])
	}
	l := Load{
		Handler: f.Handler, Files: files, Environment: map[string]string{},
		Command: command, Dir: cmp.Or(p.Dir, TaskRoot), Contract: c.Name, Port: p.Port, ReadyPath: p.ReadyPath,
		SharedGenerators: p.SharedGenerators,
	}
	if c.Environment != nil {
		maps.Copy(l.Environment, c.Environment(f))
	}
	l.Environment[runtimes.FunctionAPI] = runtimes.Constants("")[runtimes.FunctionAPI]
	maps.Copy(l.Environment, f.Settings.Environment)
	return l
}
