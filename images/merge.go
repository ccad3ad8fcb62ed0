package images

import (
	"cmp"
	"fmt"
	"path"
	"strings"

	"seuss/images/layer"
)

// mergeLayers makes one tree of layers above a base, if there is one, the lowest first. A
// layer hides what those below it have by whiteouts, and replaces files by its own; of a
// directory that several have the topmost one says owner, mode and time. Where a path leads
// through a symbolic link, the link is followed within the tree, as who unpacks the layers
// does.
func mergeLayers(base *Base, layers []*layer.Layer) (*node, error) {
	root, err := base.tree()
	if err != nil {
		return nil, err
	}
	for _, l := range layers {
		if err := root.apply(l); err != nil {
			return nil, fmt.Errorf("layer %.12s: %w", l.Digest(), err)
		}
	}
	return root, nil
}

// apply puts a layer above what the tree holds.
func (root *node) apply(l *layer.Layer) error {
	// What it hides comes first: that is below it, whatever the order of its entries.
	for e := range l.Entries() {
		if !e.Hides && !e.Opaque {
			continue
		}
		dir, name, err := root.parent(e.Path, false)
		if err != nil {
			return fmt.Errorf("whiteout of /%.200s: %w", e.Path, err)
		}
		if dir == nil {
			continue // there is nothing to hide
		}
		if e.Hides {
			delete(dir.byName, name)
			continue
		}
		if n := dir.at(name); n != nil && n.isDir() {
			clear(n.byName)
		}
	}
	made := map[*layer.File]*node{}
	var links []layer.Entry
	for e := range l.Entries() {
		switch {
		case e.File == nil:
		case e.File.LinkTo != "":
			links = append(links, e)
		default:
			if err := root.put(e, made); err != nil {
				return fmt.Errorf("/%.200s: %w", e.Path, err)
			}
		}
	}
	for _, e := range links { // when what they may lead to is there
		if err := root.putLink(e); err != nil {
			return fmt.Errorf("/%.200s: %w", e.Path, err)
		}
	}
	return nil
}

// at is an entry of a directory, which is also called "" itself.
func (n *node) at(name string) *node {
	if name == "" {
		return n
	}
	return n.byName[name]
}

// parent returns the directory that the last part of a path lies in, and that part. With
// make it makes what is missing, without it returns nil then.
func (root *node) parent(p string, make bool) (*node, string, error) {
	if p == "" {
		return root, "", nil
	}
	dir, name := path.Split(p)
	found, err := root.directory(strings.TrimSuffix(dir, "/"), make)
	return found, name, err
}

// directory finds a directory by its path.
func (root *node) directory(p string, make bool) (*node, error) {
	above := []*node{root}
	rest := strings.Split(p, "/")
	for links := 0; len(rest) > 0; {
		part := rest[0]
		rest = rest[1:]
		dir := above[len(above)-1]
		switch part {
		case "", ".":
			continue
		case "..":
			above = above[:max(1, len(above)-1)]
			continue
		}
		next := dir.byName[part]
		switch {
		case next == nil && !make:
			return nil, nil
		case next == nil:
			if err := checkEntryName(part); err != nil {
				return nil, err
			}
			next = newDir(part, path.Join(dir.guest, part))
			dir.byName[part] = next
		case next.mode&modeTypeMask == modeSymlink:
			if links++; links > maxFollow {
				return nil, fmt.Errorf("more than %d symbolic links on the way", maxFollow)
			}
			if strings.HasPrefix(next.link, "/") {
				above = above[:1]
			}
			rest = append(strings.Split(next.link, "/"), rest...)
			continue
		case !next.isDir() && !make:
			return nil, nil
		case !next.isDir():
			return nil, fmt.Errorf("%s above it is not a directory", next.guest)
		}
		above = append(above, next)
	}
	return above[len(above)-1], nil
}

// put makes a path what a layer says. A directory keeps what is in it.
func (root *node) put(e layer.Entry, made map[*layer.File]*node) error {
	dir, name, err := root.parent(e.Path, true)
	if err != nil {
		return err
	}
	f := e.File
	old := dir.at(name)
	if f.Mode()&modeTypeMask == modeDir {
		if old == nil || !old.isDir() {
			old = newDir(name, path.Join(dir.guest, name))
			dir.byName[name] = old
		}
		old.mode, old.mtime, old.explicit, old.dated = f.Mode(), f.Mtime(), true, true
		old.uid, old.gid = f.Owner()
		return nil
	}
	n := &node{name: name, guest: path.Join(dir.guest, name), explicit: true}
	if first := made[f]; first != nil {
		n.same = first
	} else {
		n.mode, n.mtime, n.stored, n.size = f.Mode(), f.Mtime(), f, uint64(f.Size())
		n.uid, n.gid = f.Owner()
		if f.Target != "" {
			n.mode, n.link, n.size = modeSymlink|0o777, f.Target, uint64(len(f.Target))
		}
		made[f] = n
	}
	dir.byName[name] = n
	return nil
}

// putLink makes a path a further name of a file that the tree has.
func (root *node) putLink(e layer.Entry) error {
	from, base, err := root.parent(e.File.LinkTo, false)
	if err != nil {
		return err
	}
	var to *node
	if from != nil {
		to = from.at(base)
	}
	if to == nil || to.isDir() {
		return fmt.Errorf("it is a hard link to /%.200s, which is no file of this layer or those below", e.File.LinkTo)
	}
	dir, name, err := root.parent(e.Path, true)
	if err != nil {
		return err
	}
	dir.byName[name] = &node{name: name, guest: path.Join(dir.guest, name), explicit: true, same: to.file()}
	return nil
}

// file is what a name leads to: n, or what n is a further name of.
func (n *node) file() *node { return cmp.Or(n.same, n) }
