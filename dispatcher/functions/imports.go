package functions

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"seuss/dispatcher/imports"
	"seuss/lineage"
	"seuss/lineage/sealed"
)

// What the code of a function has imported lies beside its code, by function and digest:
// versions with the same code share it. It goes with the last of them.

const (
	importsDir      = "imports"
	importsFormat   = 1
	maxImportsBytes = 2 << 20 // of a file: imports.MaxModules with long names, twice
)

// importsHead is the first line of a file; the modules are the second, those of its first runs
// the third, if there are any.
type importsHead struct {
	Format int `json:"format"`
	imports.Summary
}

func importsName(base, digest string) string { return NameOf(base) + "." + digest }

func (s *Store) importsPath(name, digest string) string {
	return filepath.Join(s.folder(importsDir, OwnerOf(name)), importsName(BaseName(name), digest))
}

// SaveImports keeps what the load of a deployment's code has imported, in place of what
// is kept of that; nil: nothing is known, and nothing kept. What runs have imported stays. The
// deployment need not be stored yet.
func (s *Store) SaveImports(f *Function, r *imports.Record) error {
	err := s.saveImports(f, r)
	if err != nil {
		err = fmt.Errorf("imports of function %q: %w", f.Name, err)
	}
	return err
}

func (s *Store) saveImports(f *Function, r *imports.Record) error {
	if !ValidDeploymentName(f.Name) || !validDigest(f.CodeDigest) {
		return fmt.Errorf("code digest %q: %w", f.CodeDigest, lineage.ErrInvalid)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.writable(); err != nil {
		return err
	}
	if before, err := s.readImports(f, true); err == nil && before != nil && before.Later != nil {
		var with imports.Record
		if r != nil {
			with = *r
		}
		with.Later, with.LaterModules = before.Later, before.LaterModules
		r = &with
	}
	return writeImports(s, f, r)
}

// AddRun keeps what a run of a deployment's handler has imported, nil: nothing, beside what is
// kept; that is bounded (imports.MaxRuns). Of one that is gone, or has other code by now,
// nothing is kept.
func (s *Store) AddRun(f *Function, run *imports.Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.writable()
	if err == nil {
		var now Function
		if now, err = s.read(f.Name); errors.Is(err, lineage.ErrNotFound) || err == nil && now.CodeDigest != f.CodeDigest {
			return nil
		}
	}
	var before *imports.Record
	if err == nil {
		before, err = s.readImports(f, true)
	}
	if err == nil && (before == nil || before.Later == nil || before.Later.Runs < imports.MaxRuns) {
		err = writeImports(s, f, before.Ran(run))
	}
	if err != nil {
		err = fmt.Errorf("imports of function %q: %w", f.Name, err)
	}
	return err
}

// writeImports writes a file, or deletes it. s.mu is held.
func writeImports(s *Store, f *Function, r *imports.Record) error {
	if r == nil {
		return s.dropImports(f.Name, f.CodeDigest)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	err := errors.Join(e.Encode(importsHead{importsFormat, r.Summary}), e.Encode(r.Modules))
	if len(r.LaterModules) > 0 {
		err = errors.Join(err, e.Encode(r.LaterModules))
	}
	if err != nil {
		return err
	}
	if b.Len() > maxImportsBytes {
		return fmt.Errorf("they take %d bytes, at most %d: %w", b.Len(), maxImportsBytes, lineage.ErrInvalid)
	}
	path := s.importsPath(f.Name, f.CodeDigest)
	if err := os.MkdirAll(filepath.Dir(path), sealed.DirMode); err != nil {
		return err
	}
	return s.fs.WriteFile(path, b.Bytes())
}

// dropImports deletes a file. mu is held.
func (s *Store) dropImports(name, digest string) error {
	if err := s.fs.Remove(s.importsPath(name, digest)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete its imports: %w", err)
	}
	return nil
}

// Imported returns what the load of a deployment's code has imported, without the
// modules; nil: that is not known.
func (s *Store) Imported(f *Function) (*imports.Summary, error) {
	r, err := s.readImports(f, false)
	if r == nil || err != nil {
		return nil, err
	}
	return &r.Summary, nil
}

// Imports is Imported with the modules.
func (s *Store) Imports(f *Function) (*imports.Record, error) { return s.readImports(f, true) }

func (s *Store) readImports(f *Function, modules bool) (*imports.Record, error) {
	fail := func(err error) (*imports.Record, error) {
		return nil, fmt.Errorf("imports of function %q: %w", f.Name, err)
	}
	if err := s.usable(); err != nil {
		return fail(err)
	}
	if !ValidDeploymentName(f.Name) || !validDigest(f.CodeDigest) {
		return fail(lineage.ErrInvalid)
	}
	b, err := sealed.ReadFile(s.importsPath(f.Name, f.CodeDigest), maxImportsBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return fail(err)
	}
	r, err := decodeImports(b, modules)
	if err != nil {
		return fail(err)
	}
	return r, nil
}

// decodeImports reads a file.
func decodeImports(b []byte, modules bool) (*imports.Record, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	var head importsHead
	if err := d.Decode(&head); err != nil {
		return nil, fmt.Errorf("%w: %w", err, lineage.ErrFormat)
	}
	if head.Format != importsFormat {
		return nil, fmt.Errorf("format %d, this release reads %d: %w", head.Format, importsFormat, lineage.ErrFormat)
	}
	r := &imports.Record{Summary: head.Summary}
	if r.Distributions == nil { // of the load nothing is known, of runs something is: a list all the same
		r.Distributions = []imports.Distribution{}
	}
	if modules {
		if err := d.Decode(&r.Modules); err != nil {
			return nil, fmt.Errorf("modules: %w: %w", err, lineage.ErrFormat)
		}
		if r.Modules == nil {
			r.Modules = []imports.Module{}
		}
		if err := d.Decode(&r.LaterModules); err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("modules of runs: %w: %w", err, lineage.ErrFormat)
		}
	}
	return r, nil
}

// sweepImports deletes an owner's files that are of no deployment of his.
func (s *Store) sweepImports(owner string, deployed []Function) error {
	entries, err := os.ReadDir(s.folder(importsDir, owner))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("sweep imports: %w", err)
	}
	used := map[string]bool{}
	for _, f := range deployed {
		used[importsName(BaseName(f.Name), f.CodeDigest)] = true
	}
	for _, e := range entries {
		if !e.IsDir() && strings.Contains(e.Name(), ".") && !used[e.Name()] {
			if err := s.fs.Remove(filepath.Join(s.folder(importsDir, owner), e.Name())); err != nil {
				return fmt.Errorf("sweep imports: %w", err)
			}
		}
	}
	return nil
}
