// Package archive copies files into an instance and out of it as tar archives. The steps are
// an instance's Tree to do, a few at a time: between two batches of them it may be asked for
// other things, holds no machine, and waits for nobody who reads or writes the archive.
//
// What an instance says of its files is a guest's word: names, sizes and numbers are checked
// before they are believed. What an archive says is a client's word, and reaches the guest
// only, below the path that was asked for.
//
// Units: bytes. Ownership and locks: the package has no state.
package archive

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
)

// Bounds of an archive.
const (
	MaxBytes   = 1 << 30 // of all files
	MaxEntries = 100_000
	maxPath    = 4096    // bytes, PATH_MAX of Linux
	chunk      = 1 << 20 // bytes of files in a batch of steps
	maxSteps   = 256     // in a batch
)

// ErrFiles is matched by what an instance, or an archive, has done wrong.
var ErrFiles = errors.New("files of an instance")

// Step is something that an instance does with a file. Do is stat (of a link: itself),
// follow (stat of what links lead to), list (a directory), read, write (at 0: anew, with
// Mode), make (a directory, unless there is one) or link.
type Step struct {
	Do    string `json:"do"`
	Path  string `json:"path"`
	At    int64  `json:"at,omitempty"`
	Bytes int    `json:"bytes"` // to be read
	Data  []byte `json:"data,omitempty"`
	Mode  uint32 `json:"mode"` // permissions
	Link  string `json:"link,omitempty"`
}

// Result is what came of a step.
type Result struct {
	Entries []Entry `json:"entries,omitempty"`
	Data    []byte  `json:"data,omitempty"`
	Error   string  `json:"error,omitempty"`
}

// Entry is a file, directory or link.
type Entry struct {
	Name string `json:"name"`
	Type string `json:"type"` // file, directory, link or other
	Mode uint32 `json:"mode"`
	Size int64  `json:"size"`
	Time int64  `json:"time"` // of its last change, seconds since 1970
	Link string `json:"link"` // where a link leads
}

// Tree is an instance's files.
type Tree interface {
	// Files does steps one after the other, up to the first that fails, and returns what
	// came of each that was done.
	Files(ctx context.Context, steps []Step) ([]Result, error)
}

// do has steps done, all of them.
func do(ctx context.Context, t Tree, steps []Step) ([]Result, error) {
	results, err := t.Files(ctx, steps)
	if err != nil {
		return nil, err
	}
	if len(results) > len(steps) {
		results = results[:len(steps)]
	}
	for n, r := range results {
		if r.Error != "" {
			return nil, fmt.Errorf("%s %.200q: %.500s: %w", steps[n].Do, steps[n].Path, r.Error, ErrFiles)
		}
	}
	if len(results) < len(steps) {
		return nil, fmt.Errorf("%s %.200q: the instance has not answered: %w", steps[len(results)].Do, steps[len(results)].Path, ErrFiles)
	}
	return results, nil
}

// look describes one file.
func look(ctx context.Context, t Tree, how, at string) (Entry, error) {
	results, err := do(ctx, t, []Step{{Do: how, Path: at}})
	if err != nil {
		return Entry{}, err
	}
	if len(results[0].Entries) != 1 {
		return Entry{}, fmt.Errorf("%s %.200q: it is described %d times: %w", how, at, len(results[0].Entries), ErrFiles)
	}
	e := results[0].Entries[0]
	return e, e.check(at)
}

func (e *Entry) check(at string) error {
	switch {
	case e.Type != "file" && e.Type != "directory" && e.Type != "link":
		return fmt.Errorf("%.200q is a device, a socket or a pipe: it is not copied: %w", at, ErrFiles)
	case e.Size < 0 || len(e.Link) > maxPath || e.Type == "link" && e.Link == "":
		return fmt.Errorf("%.200q is described as %d bytes, a link of %d: %w", at, e.Size, len(e.Link), ErrFiles)
	}
	return nil
}

// absolute checks a path within an instance.
func absolute(p string) (string, error) {
	if !strings.HasPrefix(p, "/") || len(p) > maxPath || strings.ContainsRune(p, 0) {
		return "", fmt.Errorf("path %.200q: want an absolute path of at most %d bytes: %w", p, maxPath, ErrFiles)
	}
	return path.Clean(p), nil
}
