package tiers

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"

	"seuss/images"
	"seuss/images/layer"
)

// Packages is the tier of what is installed: the layers of an image store.
type Packages struct {
	Store images.Store

	mu           sync.Mutex
	open         map[string][]layer.Digest // by path, of images that this process has opened
	users        map[layer.Digest]int      // of these, how many have a layer
	hits, misses uint64
	removed      uint64
}

// Opened counts the layers of an image that is opened: those that another open image has
// already, and those that are read anew. An image that cannot be read counts nothing. It is
// open until its file is removed.
func (p *Packages) Opened(path string) {
	refs, err := images.LayersOf(path)
	if err != nil {
		return // who opens it is told
	}
	digests := make([]layer.Digest, len(refs))
	for i, r := range refs {
		digests[i] = r.Digest
	}
	p.opened(path, digests)
}

func (p *Packages) opened(path string, digests []layer.Digest) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open == nil {
		p.open, p.users = map[string][]layer.Digest{}, map[layer.Digest]int{}
	}
	_, again := p.open[path]
	for _, d := range digests {
		if p.users[d] > 0 {
			p.hits++
		} else {
			p.misses++
		}
		if !again {
			p.users[d]++
		}
	}
	p.open[path] = digests
}

// Removing counts the layers that f removes, and forgets the images whose files it removes.
func (p *Packages) Removing(f func() error) error {
	before, _ := p.stored()
	err := f()
	after, _ := p.stored()
	p.mu.Lock()
	paths := slices.Collect(maps.Keys(p.open))
	p.mu.Unlock()
	paths = slices.DeleteFunc(paths, func(path string) bool {
		_, err := os.Stat(path)
		return !errors.Is(err, fs.ErrNotExist)
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	p.removed += before - min(after, before)
	for _, path := range paths {
		p.closed(path)
	}
	return err
}

// closed forgets an image. mu is held.
func (p *Packages) closed(path string) {
	for _, d := range p.open[path] {
		if p.users[d]--; p.users[d] == 0 {
			delete(p.users, d)
		}
	}
	delete(p.open, path)
}

// Tier returns the counts, and what the layers take on disk.
func (p *Packages) Tier() Tier {
	_, bytes := p.stored()
	p.mu.Lock()
	defer p.mu.Unlock()
	return Tier{Hits: p.hits, Misses: p.misses, Removed: p.removed, Bytes: bytes}
}

// stored counts the layers that there are, and their bytes. One that goes meanwhile is none.
func (p *Packages) stored() (count, bytes uint64) {
	entries, err := os.ReadDir(p.Store.Layers().Dir)
	if err != nil {
		return 0, 0 // no image has layers
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), layer.Suffix) {
			continue
		}
		if info, err := e.Info(); err == nil {
			count++
			bytes += uint64(info.Size())
		}
	}
	return count, bytes
}
