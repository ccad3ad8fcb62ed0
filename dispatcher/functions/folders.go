package functions

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"seuss/lineage"
	"seuss/lineage/sealed"
)

// makeFolders makes those of an owner's records and code, where he has none yet. mu is
// held.
func (s *Store) makeFolders(owner string) error {
	if owner == DefaultOwner {
		return nil // Open has made them
	}
	for _, of := range []string{recordsDir, codeDir} {
		err := os.Mkdir(s.folder(of, owner), sealed.DirMode)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err == nil {
			err = s.fs.SyncDir(filepath.Join(s.dir, of)) // else what is in it might not be found
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// owners returns those who have a folder of one kind, the default one first.
func (s *Store) owners(of string) ([]string, error) {
	list := []string{DefaultOwner}
	entries, err := os.ReadDir(filepath.Join(s.dir, of))
	if errors.Is(err, fs.ErrNotExist) && s.readOnly {
		return nil, nil
	}
	for _, e := range entries {
		if e.IsDir() && ValidName(e.Name()) && e.Name() != DefaultOwner {
			list = append(list, e.Name())
		}
	}
	return list, err
}

// Owners returns the owners of what is deployed, or has been, the default one first.
func (s *Store) Owners() ([]string, error) {
	if err := s.usable(); err != nil {
		return nil, fmt.Errorf("list owners: %w", err)
	}
	return s.owners(recordsDir)
}

// List returns all deployments by name, versions too. Those that cannot be read are
// left out and described by the error, which may come with a non-empty list.
func (s *Store) List() ([]Function, error) {
	if err := s.usable(); err != nil {
		return nil, fmt.Errorf("list functions: %w", err)
	}
	owners, err := s.owners(recordsDir)
	if err != nil {
		return nil, fmt.Errorf("list functions: %w", err)
	}
	var all []Function
	for _, owner := range owners {
		list, listErr := s.Owned(owner)
		all, err = append(all, list...), errors.Join(err, listErr)
	}
	slices.SortFunc(all, func(a, b Function) int { return strings.Compare(a.Name, b.Name) })
	return all, err
}

// Owned is List of one owner's deployments.
func (s *Store) Owned(owner string) ([]Function, error) {
	return s.list(owner, func(string) bool { return true })
}

// Versions returns the deployment of a function without a version, and its published
// versions, oldest first; none if nothing of the name is deployed. Those that cannot
// be read are left out as by List.
func (s *Store) Versions(name string) ([]Function, error) {
	list, err := s.list(OwnerOf(name), func(deployment string) bool { return BaseName(deployment) == name })
	slices.SortFunc(list, func(a, b Function) int { return cmp.Compare(VersionNumber(a.Name), VersionNumber(b.Name)) })
	return list, err
}

// list is Owned of the deployments that are wanted.
func (s *Store) list(owner string, wanted func(deployment string) bool) ([]Function, error) {
	if err := s.usable(); err != nil {
		return nil, fmt.Errorf("list functions: %w", err)
	}
	entries, err := os.ReadDir(s.folder(recordsDir, owner))
	if errors.Is(err, fs.ErrNotExist) && (s.readOnly || owner != DefaultOwner) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list functions: %w", err)
	}
	var functions []Function
	var failed error
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), recordSuffix)
		key := Key(owner, name)
		if !ok || e.IsDir() || !ValidDeploymentName(key) || !wanted(key) {
			continue // not ours, or not asked for
		}
		f, err := s.read(key)
		switch {
		case errors.Is(err, lineage.ErrNotFound): // removed meanwhile
		case err != nil:
			failed = errors.Join(failed, err)
		default:
			functions = append(functions, f)
		}
	}
	slices.SortFunc(functions, func(a, b Function) int { return strings.Compare(a.Name, b.Name) })
	return functions, failed
}

// With returns how many functions an owner would have, and how many bytes their code
// would take, if code were deployed under a function's name: published versions stay, and
// code that several have counts once.
func (s *Store) With(name string, code []byte) (count int, bytes uint64, err error) {
	list, err := s.Owned(OwnerOf(name))
	if err != nil {
		return 0, 0, err // of what cannot be read nobody knows how much it is
	}
	names, codes := map[string]bool{name: true}, map[string]uint64{CodeDigest(code): uint64(len(code))}
	for _, f := range list {
		names[BaseName(f.Name)] = true
		if _, known := codes[f.CodeDigest]; known || f.Name == name {
			continue
		}
		st, err := os.Stat(s.codePath(f.Name, f.CodeDigest))
		if err != nil {
			return 0, 0, fmt.Errorf("code of function %q: %w", f.Name, err)
		}
		codes[f.CodeDigest] = uint64(st.Size())
	}
	for _, n := range codes {
		bytes += n
	}
	return len(names), bytes, nil
}

// dropCode deletes code that no deployment of the same owner uses. It keeps the code if
// there is one that cannot be read, because that might be its user.
func (s *Store) dropCode(name, digest string) error {
	if digest == "" {
		return nil
	}
	functions, err := s.Owned(OwnerOf(name))
	if err != nil {
		return nil
	}
	base := BaseName(name)
	if !slices.ContainsFunc(functions, func(f Function) bool { return f.CodeDigest == digest && BaseName(f.Name) == base }) {
		if err := s.dropImports(name, digest); err != nil {
			return err
		}
	}
	if slices.ContainsFunc(functions, func(f Function) bool { return f.CodeDigest == digest }) {
		return nil
	}
	if err := s.fs.Remove(s.codePath(name, digest)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete unused code %s: %w", digest, err)
	}
	return nil
}

// sweep makes the folders, and deletes what interrupted changes have left behind.
func (s *Store) sweep() error {
	for _, of := range []string{recordsDir, codeDir} {
		if err := os.MkdirAll(s.folder(of, DefaultOwner), sealed.DirMode); err != nil {
			return err
		}
		owners, err := s.owners(of)
		if err != nil {
			return err
		}
		for _, owner := range owners {
			err := sealed.Sweep(s.folder(of, owner))
			if err == nil && of == codeDir {
				err = s.sweepCode(owner)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// sweepCode deletes an owner's code that no deployment of his has, and finds the URLs of
// those that there are.
func (s *Store) sweepCode(owner string) error {
	functions, err := s.Owned(owner)
	for i := range functions {
		s.indexURLs(&Function{}, &functions[i])
	}
	if err != nil {
		return nil // a damaged deployment is no reason not to open, see dropCode
	}
	if err := s.sweepImports(owner, functions); err != nil {
		return err
	}
	used := map[string]bool{}
	for _, f := range functions {
		used[f.CodeDigest] = true
	}
	entries, err := os.ReadDir(s.folder(codeDir, owner))
	if err != nil {
		return fmt.Errorf("sweep code: %w", err)
	}
	for _, e := range entries {
		if digest := e.Name(); validDigest(digest) && !e.IsDir() && !used[digest] { // an owner may be called so
			if err := s.fs.Remove(filepath.Join(s.folder(codeDir, owner), digest)); err != nil {
				return fmt.Errorf("sweep code: %w", err)
			}
		}
	}
	return nil
}
