package plancmd

import (
	"errors"
	"fmt"
	"io"
	"os"

	"seuss/dispatcher/plan"
)

// read reads a file with one of the readers of package plan, and "-" is standard input.
func read[T any](stdin io.Reader, path string, how func(io.Reader) (T, error)) (v T, err error) {
	in := stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return v, err
		}
		defer f.Close()
		if info, err := f.Stat(); err == nil && info.IsDir() {
			return v, fmt.Errorf("%s is a directory, want a file", path)
		}
		in = f
	}
	if v, err = how(in); err != nil {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return v, err
}

// readTree reads a plan.
func readTree(stdin io.Reader, path string) (*plan.Tree, error) {
	return read(stdin, path, plan.ReadTree)
}

// readCosts reads the costs of packages if a path is given.
func readCosts(stdin io.Reader, path string) (plan.Costs, error) {
	if path == "" {
		return nil, nil
	}
	return read(stdin, path, plan.ReadCosts)
}

// once refuses standard input for two files.
func once(paths ...string) error {
	n := 0
	for _, p := range paths {
		if p == "-" {
			n++
		}
	}
	if n > 1 {
		return errors.New("standard input (-) can be one file only")
	}
	return nil
}
