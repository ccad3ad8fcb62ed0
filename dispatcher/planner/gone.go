package planner

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"seuss/dispatcher/plan"
	"seuss/lineage/sealed"
)

// GoneDir is the folder of a state directory with what is known of code that is gone.
const GoneDir = "history"

// Gone is what is known of code that is no longer deployed: what it has imported and how often
// it was called, the newest of it. Functions say it themselves and could forge it.
type Gone struct {
	dir  string
	most int64 // bytes of a file

	mu sync.Mutex
}

// NewGone keeps it in a state directory, which its owner may write.
func NewGone(stateDir string) *Gone {
	return &Gone{dir: filepath.Join(stateDir, GoneDir), most: maxGoneFile}
}

// goneLine is a line of a file.
type goneLine struct {
	Name     string        `json:"name"`
	Calls    uint64        `json:"calls"`
	Packages []gonePackage `json:"packages"`
}

type gonePackage struct {
	Pin   string   `json:"pin"`
	MS    float64  `json:"ms"`
	MiB   float64  `json:"mib"`
	Needs []string `json:"needs,omitempty"`
}

// goneFiles are the newer one, which is written, and the older one.
func goneFiles(dir string) (now, before string) {
	return filepath.Join(dir, "gone.jsonl"), filepath.Join(dir, "gone.1.jsonl")
}

// Add notes code that is gone. What was never called tells of no use, and is left out, as is
// what has more packages than a plan asks for.
func (g *Gone) Add(list []plan.Loaded) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	var b bytes.Buffer
	for _, l := range list {
		if l.Calls == 0 || len(l.Packages) > maxModules {
			continue
		}
		line := goneLine{Name: l.Name, Calls: l.Calls, Packages: []gonePackage{}}
		for _, p := range l.Packages {
			line.Packages = append(line.Packages, gonePackage{p.Pin, p.Cost.MS, p.Cost.MiB, p.Needs})
		}
		text, err := json.Marshal(line)
		if err != nil {
			return fmt.Errorf("history: %w", err)
		}
		if len(text) < maxGoneLine {
			if b.Len() > 0 && int64(b.Len()+len(text)) > g.most/2 { // a file has no more than it may
				if err := g.write(b.Bytes()); err != nil {
					return fmt.Errorf("history: %w", err)
				}
				b.Reset()
			}
			// What a crash has torn before ends here: it is a line of its own.
			b.WriteByte('\n')
			b.Write(text)
			b.WriteByte('\n')
		}
	}
	if b.Len() == 0 {
		return nil
	}
	if err := g.write(b.Bytes()); err != nil {
		return fmt.Errorf("history: %w", err)
	}
	return nil
}

// write appends to the file, which is the older one once it is full.
func (g *Gone) write(text []byte) error {
	now, before := goneFiles(g.dir)
	if err := os.MkdirAll(g.dir, sealed.DirMode); err != nil {
		return err
	}
	if info, err := os.Stat(now); err == nil && info.Size()+int64(len(text)) > g.most {
		if err := os.Rename(now, before); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(now, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Close())
}

// ReadGone returns what is known of code that is gone from a state directory, the oldest first.
// Lines that cannot be read are left out, and counted.
func ReadGone(stateDir string) (list []plan.Loaded, damaged int, err error) {
	now, before := goneFiles(filepath.Join(stateDir, GoneDir))
	for _, path := range []string{before, now} {
		text, err := sealed.ReadFile(path, 2*maxGoneFile)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return list, damaged, fmt.Errorf("history: %w", err)
		}
		for line := range bytes.Lines(text) {
			if line = bytes.TrimSpace(line); len(line) == 0 {
				continue
			}
			l, err := decodeGone(line)
			if err != nil {
				damaged++
				continue
			}
			list = append(list, l)
		}
	}
	return list, damaged, nil
}

func decodeGone(line []byte) (plan.Loaded, error) {
	var l goneLine
	if err := json.Unmarshal(line, &l); err != nil {
		return plan.Loaded{}, err
	}
	loaded := plan.Loaded{Name: l.Name, Calls: l.Calls}
	for _, p := range l.Packages {
		loaded.Packages = append(loaded.Packages, plan.LoadedPackage{Pin: p.Pin, Cost: plan.Cost{MS: p.MS, MiB: p.MiB}, Needs: p.Needs})
	}
	_, err := plan.NewHistory([]plan.Loaded{loaded}) // one that it takes spoils no others
	return loaded, err
}
