package plan

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Dependency is a package with what must be imported for it, itself included. One package may
// have several such sets: extras, or other versions of what it needs.
type Dependency struct {
	Package  string   // as a column
	Packages []string // columns, in any order
	Uses     int      // how many functions have it so; at least 1
}

// Dependencies are those of a workload.
type Dependencies struct {
	Sets []Dependency
	// Unordered says that the order of Sets means nothing. Where candidates are equal, the
	// set that the earliest function has goes first; otherwise the earlier one in Sets.
	Unordered bool
}

// ReadDependencies reads either of two forms: a document a line with the fields package, deps
// and count; or one document that maps a package to versions to comma-joined sets to counts.
func ReadDependencies(r io.Reader) (Dependencies, error) {
	b := bufio.NewReaderSize(io.LimitReader(r, maxDocument+1), 1<<16)
	lines, err := isLineForm(b)
	if err == nil {
		read := readDependencyDocument
		if lines {
			read = readDependencyLines
		}
		var deps []Dependency
		if deps, err = read(b); err == nil {
			return Dependencies{Sets: deps, Unordered: !lines}, nil
		}
	}
	return Dependencies{}, fmt.Errorf("read dependencies: %w", err)
}

// isLineForm tells the forms apart by the first key's value: a text in the form of lines.
func isLineForm(b *bufio.Reader) (bool, error) {
	head, err := b.Peek(1 << 12)
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	d := json.NewDecoder(bytes.NewReader(head))
	for range 2 { // the brace and the key
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return true, nil // no functions, no dependencies
		} else if err != nil {
			return false, fmt.Errorf("decode: %w", err)
		}
	}
	value, err := d.Token()
	if err != nil {
		return false, nil // a long key, or an error that the whole reading tells
	}
	delim, ok := value.(json.Delim)
	return !ok || delim == '[', nil
}

func readDependencyLines(r io.Reader) (deps []Dependency, err error) {
	err = eachLine(r, func(line []byte) error {
		var doc struct {
			Package string   `json:"package"`
			Deps    []string `json:"deps"`
			Count   int      `json:"count"`
		}
		if err := strict(line, &doc); err != nil {
			return err
		}
		deps, err = appendDependency(deps, doc.Package, doc.Deps, doc.Count)
		return err
	})
	return deps, err
}

func readDependencyDocument(r io.Reader) (deps []Dependency, err error) {
	d := json.NewDecoder(r)
	err = eachKey(d, func(name string) error {
		return eachKey(d, func(version string) error {
			return eachKey(d, func(set string) error {
				var count int
				if err := d.Decode(&count); err != nil {
					return fmt.Errorf("%s==%s: %w", name, version, err)
				}
				deps, err = appendDependency(deps, name+"=="+version, strings.Split(set, ","), count)
				return err
			})
		})
	})
	if err == nil {
		if _, err = d.Token(); errors.Is(err, io.EOF) {
			return deps, nil
		}
		err = errors.New("there is something behind the JSON document")
	}
	return nil, err
}

// eachKey reads an object, whose values f reads.
func eachKey(d *json.Decoder, f func(key string) error) error {
	t, err := d.Token()
	if err != nil {
		return fmt.Errorf("decode: %w", err)
	}
	if t != json.Delim('{') {
		return fmt.Errorf("byte %d: want an object", d.InputOffset())
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return fmt.Errorf("decode: %w", err)
		}
		if err := f(key.(string)); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil {
		return fmt.Errorf("decode: %w", err)
	}
	return nil
}

func appendDependency(deps []Dependency, pin string, set []string, count int) ([]Dependency, error) {
	if len(deps) >= maxDependency {
		return nil, fmt.Errorf("more than %d sets", maxDependency)
	}
	column, err := Canonical(pin)
	if err != nil {
		return nil, err
	}
	if count < 0 {
		return nil, fmt.Errorf("%s is used %d times", column, count)
	}
	d := Dependency{Package: column, Uses: max(count, 1), Packages: make([]string, len(set))}
	found := false
	for i, p := range set {
		if d.Packages[i], err = Canonical(p); err != nil {
			return nil, fmt.Errorf("needed by %s: %w", column, err)
		}
		found = found || d.Packages[i] == column
	}
	if !found {
		return nil, fmt.Errorf("the set of %s does not contain itself", column)
	}
	return append(deps, d), nil
}

// fitting returns the sets that a function of a workload has, in columns, in the order in which
// equal ones are taken.
func (d Dependencies) fitting(r *rows) (out []candidate) {
	first := []int{} // function that has a set, by place in out
	all := r.all()
	for _, set := range d.Sets {
		columns, ok := r.w.indices(set.Packages)
		if !ok || r.count(all, columns) == 0 {
			continue
		}
		earliest := len(r.w.Functions)
		if d.Unordered {
			r.with(all, columns, func(at int32, word uint64) {
				eachBit(at, word, func(row int) { earliest = min(earliest, r.first[row]) })
			})
		}
		out, first = append(out, candidate{direct: r.w.column[set.Package], columns: columns}), append(first, earliest)
	}
	places := make([]int, len(out))
	for i := range places {
		places[i] = i
	}
	slices.SortStableFunc(places, func(a, b int) int { return cmp.Compare(first[a], first[b]) })
	for order, i := range places {
		out[i].order = order
	}
	return out
}
