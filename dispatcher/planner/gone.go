package planner

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"seuss/dispatcher/functions"
	"seuss/dispatcher/plan"
	"seuss/lineage/sealed"
)

// GoneDir is the folder of a state directory with what is known of code that is gone.
const GoneDir = "history"

// Gone is what is known of code that is no longer deployed: what it has imported and how often
// it was called, the newest of it. Functions say it themselves and could forge it; no owner's
// pushes out another's who has less.
type Gone struct {
	dir  string
	fs   sealed.FS
	most int64 // bytes of a file

	mu sync.Mutex
}

// NewGone keeps it in a state directory, which its owner may write.
func NewGone(stateDir string) *Gone {
	return &Gone{dir: filepath.Join(stateDir, GoneDir), fs: sealed.OS(), most: maxGoneFile}
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
	Later float64  `json:"later,omitempty"`
}

// goneFiles are the newer one, which is appended to, and the older one.
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
			line.Packages = append(line.Packages, gonePackage{p.Pin, p.Cost.MS, p.Cost.MiB, p.Needs, p.Later})
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

// write appends to the newer file, which the older one takes in once it is full.
func (g *Gone) write(text []byte) error {
	now, _ := goneFiles(g.dir)
	if err := os.MkdirAll(g.dir, sealed.DirMode); err != nil {
		return err
	}
	if info, err := os.Stat(now); err == nil && info.Size()+int64(len(text)) > g.most {
		if err := g.merge(); err != nil {
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

// merge makes both files the older one. A crash before the newer one is gone has its lines
// count twice.
func (g *Gone) merge() error {
	if err := sealed.Sweep(g.dir); err != nil {
		return err
	}
	now, before := goneFiles(g.dir)
	lines, err := goneLines(g.dir)
	if err == nil {
		err = g.fs.WriteFile(before, append(bytes.Join(fair(lines, g.most), []byte("\n")), '\n'))
	}
	if err == nil {
		err = os.Remove(now)
	}
	return err
}

// fair returns of lines, the oldest first, those that take at most so many bytes together:
// every owner's newest, and of nobody more while another who has less cannot keep all of his.
// What cannot be read goes.
func fair(lines [][]byte, most int64) [][]byte {
	type kept struct {
		at    int
		bytes int64 // of the owner's lines that are as new
	}
	var all []kept
	owned := map[string]int64{}
	for at, line := range slices.Backward(lines) {
		var l struct {
			Name string `json:"name"`
		}
		if json.Unmarshal(line, &l) != nil {
			continue
		}
		owner := functions.OwnerOf(l.Name)
		owned[owner] += int64(len(line)) + 1
		all = append(all, kept{at, owned[owner]})
	}
	slices.SortStableFunc(all, func(a, b kept) int { return cmp.Compare(a.bytes, b.bytes) })
	for i, k := range all {
		if most -= int64(len(lines[k.at])) + 1; most < 0 {
			all = all[:i]
			break
		}
	}
	slices.SortFunc(all, func(a, b kept) int { return cmp.Compare(a.at, b.at) })
	list := make([][]byte, len(all))
	for i, k := range all {
		list[i] = lines[k.at]
	}
	return list
}

// goneLines returns the lines of both files, the oldest first, without those that are empty.
func goneLines(dir string) (lines [][]byte, err error) {
	now, before := goneFiles(dir)
	for _, path := range []string{before, now} {
		text, err := sealed.ReadFile(path, 2*maxGoneFile)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return lines, err
		}
		for line := range bytes.Lines(text) {
			if line = bytes.TrimSpace(line); len(line) > 0 {
				lines = append(lines, line)
			}
		}
	}
	return lines, nil
}

// ReadGone returns what is known of code that is gone from a state directory, the oldest first.
// Lines that cannot be read are left out, and counted.
func ReadGone(stateDir string) (list []plan.Loaded, damaged int, err error) {
	lines, err := goneLines(filepath.Join(stateDir, GoneDir))
	if err != nil {
		err = fmt.Errorf("history: %w", err)
	}
	for _, line := range lines {
		l, err := decodeGone(line)
		if err != nil {
			damaged++
			continue
		}
		list = append(list, l)
	}
	return list, damaged, err
}

func decodeGone(line []byte) (plan.Loaded, error) {
	var l goneLine
	if err := json.Unmarshal(line, &l); err != nil {
		return plan.Loaded{}, err
	}
	loaded := plan.Loaded{Name: l.Name, Calls: l.Calls}
	for _, p := range l.Packages {
		loaded.Packages = append(loaded.Packages, plan.LoadedPackage{Pin: p.Pin, Cost: plan.Cost{MS: p.MS, MiB: p.MiB}, Needs: p.Needs, Later: p.Later})
	}
	_, err := plan.NewHistory([]plan.Loaded{loaded}) // one that it takes spoils no others
	return loaded, err
}
