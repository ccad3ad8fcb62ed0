package functions

import (
	"fmt"
	"path"
	"strings"
	"unicode/utf8"
)

// Program is what a deployment runs where that is a program of its own, not code for the
// driver of a runtime. Which fields its contract takes, the contract says (package
// contracts).
type Program struct {
	Contract string `json:"contract"` // by name: how it says that it is ready and takes requests
	// Command is the program and its arguments, at most MaxCommandBytes in all. The first
	// is a path in the guest, or one relative to the function's code.
	Command []string `json:"command,omitempty"`
	// Dir is where the command is started, absolute and clean; "": where its files are.
	Dir string `json:"dir,omitempty"`
	// Port is the TCP port that it listens on, ReadyPath a path there that has to answer
	// before it is captured; of contracts that have such a thing.
	Port      uint16 `json:"port,omitempty"`
	ReadyPath string `json:"ready_path,omitempty"`
	// SharedGenerators: instances may have the same random numbers, because the program's
	// own generators were seeded before its snapshot and nobody seeds them anew.
	SharedGenerators bool `json:"allow_shared_generators,omitempty"`
}

// Bounds of a Program.
const (
	MaxCommandBytes = 16 << 10 // of all words
	maxReadyPath    = 1024
)

// Check refuses what no contract would take.
func (p *Program) Check() error {
	bytes := 0
	for _, word := range p.Command {
		if bytes += len(word) + 1; strings.ContainsRune(word, 0) || !utf8.ValidString(word) {
			return fmt.Errorf("command: %q holds a zero byte, or is no text", word)
		}
	}
	switch {
	case !ValidName(p.Contract):
		return fmt.Errorf("contract %q is no name", p.Contract)
	case len(p.Command) == 0 || p.Command[0] == "" || path.Clean(p.Command[0]) != p.Command[0]:
		return fmt.Errorf("command %q does not begin with the clean path of a program", p.Command)
	case p.Dir != "" && (!path.IsAbs(p.Dir) || path.Clean(p.Dir) != p.Dir || strings.ContainsRune(p.Dir, 0) || len(p.Dir) > maxReadyPath):
		return fmt.Errorf("directory %q is not absolute and clean, of at most %d bytes", p.Dir, maxReadyPath)
	case bytes > MaxCommandBytes:
		return fmt.Errorf("the command takes %d bytes, at most %d", bytes, MaxCommandBytes)
	case p.ReadyPath != "" && (p.ReadyPath[0] != '/' || len(p.ReadyPath) > maxReadyPath || strings.ContainsFunc(p.ReadyPath, func(r rune) bool { return r <= ' ' || r > '~' })):
		return fmt.Errorf("ready path %q is not a path of at most %d printable ASCII characters that begins with /", p.ReadyPath, maxReadyPath)
	}
	return nil
}
