package planner

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"seuss/lineage"
	"seuss/lineage/sealed"
)

// Dir is the folder of a state directory. A plan is the file DIGEST[.RUNTIME].plan, that
// of an owner below his name in owners; what is known of an image's packages is
// DIGEST[.RUNTIME].packages.
const (
	Dir            = "plans"
	ownersDir      = "owners"
	planSuffix     = ".plan"
	packagesSuffix = ".packages"
)

// knowledgeFile is a file of packages.
type knowledgeFile struct {
	Format int `json:"format"`
	Place
	Packages map[string]*Package `json:"packages"`
}

const knowledgeFormat = 1

// fileName is a place's name for files. Runtimes are NAME VERSION.
func fileName(p *Place) string {
	if p.Key == "" {
		return p.Digest
	}
	return p.Digest + "." + strings.Map(func(r rune) rune {
		if strings.ContainsRune(" /\x00", r) {
			return '_'
		}
		return r
	}, p.Key)
}

func (p *Planner) planPath(owner string, at *Place) string {
	if owner == "" {
		return filepath.Join(p.dir, fileName(at)+planSuffix)
	}
	return filepath.Join(p.dir, ownersDir, owner, fileName(at)+planSuffix)
}

// write seals a document.
func (p *Planner) write(path string, doc any) error {
	b, err := json.Marshal(doc)
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("it takes %d bytes, at most %d: %w", len(b), maxFile, lineage.ErrInvalid)
	}
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), sealed.DirMode)
	}
	if err == nil {
		err = p.fs.WriteFile(path, b)
	}
	return err
}

func (p *Planner) saveKnowledge(at *Place, k *knowledge) error {
	return p.write(filepath.Join(p.dir, fileName(at)+packagesSuffix), knowledgeFile{knowledgeFormat, *at, k.Packages})
}

// ReadPlans returns the plans of a state directory. Those that cannot be read are left out
// and described by the error.
func ReadPlans(stateDir string) (list []*Applied, err error) {
	dir := filepath.Join(stateDir, Dir)
	paths, _ := filepath.Glob(filepath.Join(dir, "*"+planSuffix))
	owned, _ := filepath.Glob(filepath.Join(dir, ownersDir, "*", "*"+planSuffix))
	for _, path := range append(paths, owned...) {
		a, failed := readFile[Applied](path)
		if failed == nil {
			failed = a.check()
		}
		if failed != nil {
			err = errors.Join(err, fmt.Errorf("plan %s: %w", path, failed))
			continue
		}
		list = append(list, a)
	}
	return list, err
}

func readFile[T any](path string) (*T, error) {
	b, err := sealed.ReadFile(path, maxFile)
	if err != nil {
		return nil, err
	}
	v := new(T)
	if err := json.Unmarshal(b, v); err != nil {
		return nil, fmt.Errorf("%w: %w", err, lineage.ErrFormat)
	}
	return v, nil
}

// readKnowledge returns what is known of a place's packages, nil if nothing is.
func (p *Planner) readKnowledge(at *Place) (*knowledge, error) {
	f, err := readFile[knowledgeFile](filepath.Join(p.dir, fileName(at)+packagesSuffix))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && f.Format != knowledgeFormat {
		err = fmt.Errorf("format %d, this release reads %d: %w", f.Format, knowledgeFormat, lineage.ErrFormat)
	}
	if err != nil {
		return nil, err
	}
	for id, found := range f.Packages {
		if found == nil || key(found.Pin) != id {
			return nil, fmt.Errorf("package %.80q: %w", id, lineage.ErrFormat)
		}
	}
	return newKnowledge(f.Packages), nil
}
