// Package archivetest has files of an instance that are in memory: an archive.Tree for tests.
//
// Ownership and locks: a Tree is one goroutine's.
package archivetest

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"seuss/dispatcher/instances/archive"
)

// File is a file of a Tree.
type File struct {
	archive.Entry
	Data []byte
}

// Tree is files by their absolute paths. The zero value has only its root.
type Tree struct {
	Files map[string]*File
	Calls int // of Do
}

// Do implements archive.Tree's Files.
func (t *Tree) Do(_ context.Context, steps []archive.Step) (list []archive.Result, err error) {
	if t.Files == nil {
		t.Files = map[string]*File{"/": {Entry: archive.Entry{Type: "directory", Mode: 0o755}}}
	}
	t.Calls++
	for _, s := range steps {
		r := t.step(&s)
		if list = append(list, r); r.Error != "" {
			break
		}
	}
	return list, nil
}

func (t *Tree) step(s *archive.Step) (r archive.Result) {
	f := t.Files[s.Path]
	for s.Do != "stat" && s.Do != "link" && f != nil && f.Type == "link" {
		f = t.Files[f.Link]
	}
	parent := t.Files[path.Dir(s.Path)]
	switch {
	case f == nil && (s.Do == "stat" || s.Do == "follow" || s.Do == "list" || s.Do == "read"):
		r.Error = "No such file or directory"
	case f == nil && (parent == nil || parent.Type != "directory"):
		r.Error = "No such directory"
	case s.Do == "stat" || s.Do == "follow":
		r.Entries = []archive.Entry{f.Entry}
	case s.Do == "list":
		for name, below := range t.Files {
			if name != "/" && path.Dir(name) == s.Path {
				e := below.Entry
				e.Name, e.Size = path.Base(name), max(e.Size, int64(len(below.Data)))
				r.Entries = append(r.Entries, e)
			}
		}
		slices.SortFunc(r.Entries, func(a, b archive.Entry) int { return strings.Compare(a.Name, b.Name) })
	case s.Do == "read":
		r.Data = f.Data[min(int(s.At), len(f.Data)):]
		r.Data = r.Data[:min(s.Bytes, len(r.Data))]
	case s.Do == "write" && (f == nil || s.At == 0):
		t.Files[s.Path] = &File{archive.Entry{Type: "file", Mode: s.Mode, Size: int64(len(s.Data))}, slices.Clone(s.Data)}
	case s.Do == "write":
		f.Data = append(f.Data[:s.At], s.Data...)
		f.Size = int64(len(f.Data))
	case s.Do == "make" && f == nil:
		t.Files[s.Path] = &File{Entry: archive.Entry{Type: "directory", Mode: s.Mode}}
	case s.Do == "make" && f.Type != "directory":
		r.Error = "File exists"
	case s.Do == "link":
		t.Files[s.Path] = &File{Entry: archive.Entry{Type: "link", Link: s.Link}}
	case s.Do != "make":
		r.Error = fmt.Sprintf("no step %q", s.Do)
	}
	return r
}
