package plan

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sort"
)

// Workload is functions and the packages that they need.
type Workload struct {
	Columns   []string // packages as name==version, sorted by bytes
	Functions []Function
	column    map[string]int32
}

// Function is one function of a workload.
type Function struct {
	Name     string
	Calls    int     // at least 1
	Packages []int32 // indices of columns, ascending
}

// Call is a function as a trace has it: one JSON document a line.
type Call struct {
	Name     string   `json:"name"`
	Packages []string `json:"packages"`          // NAME==VERSION, with all that they depend on
	Imports  []string `json:"imports,omitempty"` // the modules that it imports; a fit ignores them
	Calls    int      `json:"calls,omitempty"`   // how often it was called; 0 = once
	// Later are packages that its handler imports, beside those of its load, each with the
	// number of calls in which it does, 1 to Calls.
	Later map[string]int `json:"later,omitempty"`
}

// NewWorkload returns the workload of a list of functions. It fails for a package that is no
// NAME==VERSION and for more than the limits of this package.
func NewWorkload(calls []Call) (*Workload, error) {
	if len(calls) > MaxFunctions {
		return nil, fmt.Errorf("%d functions, at most %d can be planned for: leave those out that are called least", len(calls), MaxFunctions)
	}
	calls, err := byLater(calls)
	if err != nil {
		return nil, err
	}
	w := &Workload{column: map[string]int32{}, Functions: make([]Function, len(calls))}
	pins := 0
	known := map[string]string{} // pin -> column
	rows := make([][]string, len(calls))
	for i, c := range calls {
		if c.Calls < 0 || c.Calls > math.MaxInt32 {
			return nil, fmt.Errorf("function %.80q has %d calls", c.Name, c.Calls)
		}
		row := make([]string, 0, len(c.Packages))
		for _, pin := range c.Packages {
			column, ok := known[pin]
			if !ok {
				var err error
				if column, err = Canonical(pin); err != nil {
					return nil, fmt.Errorf("function %.80q: %w", c.Name, err)
				}
				known[pin] = column
				if w.column[column] = 0; len(w.column) > MaxColumns {
					return nil, fmt.Errorf("more than %d packages: leave those functions out that are called least", MaxColumns)
				}
			}
			row = append(row, column)
		}
		slices.Sort(row)
		rows[i] = slices.Compact(row)
		if pins += len(rows[i]); pins > MaxPins {
			return nil, fmt.Errorf("the functions need more than %d packages together: leave those out that are called least", MaxPins)
		}
	}
	for column := range w.column {
		w.Columns = append(w.Columns, column)
	}
	sort.Strings(w.Columns)
	for i, column := range w.Columns {
		w.column[column] = int32(i)
	}
	for i, row := range rows {
		f := Function{Name: calls[i].Name, Calls: max(calls[i].Calls, 1), Packages: make([]int32, len(row))}
		for k, column := range row {
			f.Packages[k] = w.column[column]
		}
		w.Functions[i] = f
	}
	return w, nil
}

// ReadWorkload reads a trace: a [Call] a line. Errors name the line.
func ReadWorkload(r io.Reader) (*Workload, error) {
	var calls []Call
	err := eachLine(r, func(line []byte) error {
		var c Call
		if err := strict(line, &c); err != nil {
			return err
		}
		if calls = append(calls, c); len(calls) > MaxFunctions {
			return fmt.Errorf("more than %d functions: leave those out that are called least", MaxFunctions)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read functions: %w", err)
	}
	return NewWorkload(calls)
}

// indices returns the columns of a list of packages, ascending, and false if one of them is
// needed by no function.
func (w *Workload) indices(packages []string) ([]int32, bool) {
	out := make([]int32, 0, len(packages))
	for _, p := range packages {
		i, ok := w.column[p]
		if !ok {
			return nil, false
		}
		out = append(out, i)
	}
	slices.Sort(out)
	return slices.Compact(out), true
}

// names returns the packages of columns.
func (w *Workload) names(columns []int32) []string {
	out := make([]string, len(columns))
	for i, c := range columns {
		out[i] = w.Columns[c]
	}
	return out
}

// eachLine calls f for each line that is not blank.
func eachLine(r io.Reader, f func(line []byte) error) error {
	s := bufio.NewScanner(r)
	s.Buffer(nil, maxLine)
	n := 1
	for ; s.Scan(); n++ {
		line := bytes.TrimSpace(s.Bytes())
		if len(line) == 0 {
			continue
		}
		if err := f(line); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	if err := s.Err(); errors.Is(err, bufio.ErrTooLong) {
		return fmt.Errorf("line %d is longer than %d bytes", n, maxLine)
	} else if err != nil {
		return fmt.Errorf("line %d: %w", n, err)
	}
	return nil
}

// strict decodes one JSON document and refuses fields that v lacks.
func strict(doc []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(doc))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("decode: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is something behind the JSON document")
	}
	return nil
}
