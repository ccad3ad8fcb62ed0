package tiers

import (
	"os"
	"strings"
	"sync"

	"seuss/images"
	"seuss/images/layer"
)

// Packages is the tier of what is installed: the layers of an image store.
type Packages struct {
	Store images.Store

	mu           sync.Mutex
	open         map[layer.Digest]bool // of images that this process has opened
	hits, misses uint64
	removed      uint64
}

// Opened counts the layers of an image that is opened: those that another open image has
// already, and those that are read anew. An image that cannot be read counts nothing.
func (p *Packages) Opened(path string) {
	refs, err := images.LayersOf(path)
	if err != nil {
		return // who opens it is told
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open == nil {
		p.open = map[layer.Digest]bool{}
	}
	for _, r := range refs {
		if p.open[r.Digest] {
			p.hits++
		} else {
			p.misses++
			p.open[r.Digest] = true
		}
	}
}

// Removing counts the layers that f removes.
func (p *Packages) Removing(f func() error) error {
	before, _ := p.stored()
	err := f()
	if after, _ := p.stored(); after < before {
		p.mu.Lock()
		p.removed += before - after
		p.mu.Unlock()
	}
	return err
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
