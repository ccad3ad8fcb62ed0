package quota

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"

	"seuss/dispatcher/functions"
	"seuss/lineage"
	"seuss/lineage/sealed"
)

// LedgerFile is the ledger's file in a state directory.
const LedgerFile = "charges.json"

const (
	ledgerFormat   = 1
	maxLedgerBytes = 64 << 20
)

// Ledger says in whose names snapshots were made that belong to nobody: those of imports,
// from which everybody's functions may start. Who has had one made is charged for it as for
// his own, for as long as it is there.
type Ledger struct {
	nodes *lineage.Store
	path  string
	fs    sealed.FS

	mu      sync.Mutex
	owners  map[string]string // by node id
	unsaved bool              // the file does not say all of that
	alone   error             // why the file is left alone; nil: it is not
}

// ledgerFile is what the file says.
type ledgerFile struct {
	Format int               `json:"format"`
	Owners map[string]string `json:"owners"` // by node id
}

// OpenLedger reads the ledger of a state directory that the caller may write. One that
// cannot be read is an error, and an empty ledger, whose file is left alone.
func OpenLedger(nodes *lineage.Store) (*Ledger, error) {
	l := &Ledger{nodes: nodes, path: filepath.Join(nodes.Dir(), LedgerFile), fs: sealed.OS(), owners: map[string]string{}}
	b, err := sealed.ReadFile(l.path, maxLedgerBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	var f ledgerFile
	if err == nil {
		err = json.Unmarshal(b, &f)
	}
	if err == nil && f.Format != ledgerFormat {
		err = fmt.Errorf("format %d, this release reads %d: %w", f.Format, ledgerFormat, lineage.ErrFormat)
	}
	if err != nil {
		l.alone = fmt.Errorf("ledger %s cannot be read and is left alone: move it away and start again to have a new one: %w", l.path, err)
		return l, l.alone
	}
	if f.Owners != nil {
		l.owners = f.Owners
	}
	return l, nil
}

// Charge notes in whose name a node was made. Whoever is charged already stays so.
func (l *Ledger) Charge(id, owner string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.owners[id] != "" && !l.unsaved {
		return nil
	}
	c := l.nodes.Catalogue()
	for other := range l.owners { // those that have gone
		if n, err := c.Get(other); err != nil || n.ID != other {
			delete(l.owners, other)
		}
	}
	if l.owners[id] == "" {
		l.owners[id] = owner
	}
	if l.alone != nil {
		return l.alone
	}
	b, err := json.Marshal(ledgerFile{ledgerFormat, l.owners})
	if err == nil {
		err = l.fs.WriteFile(l.path, b)
	}
	if l.unsaved = err != nil; err != nil {
		return fmt.Errorf("ledger %s: %w", l.path, err)
	}
	return nil
}

// made returns the nodes that were made in an owner's name.
func (l *Ledger) made(owner string) (list []*lineage.Node) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range l.nodes.Kind(lineage.KindImport) {
		if l.owners[n.ID] == owner {
			list = append(list, n)
		}
	}
	return list
}

// Bytes returns what an owner's snapshots take: those of his functions, and those that were
// made in his name.
func (l *Ledger) Bytes(owner string) (sum uint64) {
	// Of another owner than the default one only his are looked at: invocations ask.
	for _, n := range l.nodes.FunctionPrefix(functions.Key(owner, "")) {
		if n.Private() && functions.OwnerOf(n.Key.Function) == owner {
			sum += n.StoredBytes()
		}
	}
	for _, n := range l.made(owner) {
		sum += n.StoredBytes()
	}
	return sum
}

// Idle returns of the nodes that were made in an owner's name those on which nothing hangs,
// those that were used longest ago first.
func (l *Ledger) Idle(owner string) []*lineage.Node {
	list := slices.DeleteFunc(l.made(owner), func(n *lineage.Node) bool { return len(l.nodes.Children(n.ID)) > 0 })
	slices.SortFunc(list, func(a, b *lineage.Node) int { return a.LastUsed().Compare(b.LastUsed()) })
	return list
}
