package lineage

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/go-memdb"
)

// The catalogue is one memdb table. Every read works on an immutable root, so
// a reader sees the state between two changes, never one half done.
const (
	nodeTable     = "node"
	idIndex       = "id"
	parentIndex   = "parent"
	kindIndex     = "kind"
	functionIndex = "function"
)

func catalogueSchema() *memdb.DBSchema {
	index := func(name string, unique bool, field func(*Node) string) *memdb.IndexSchema {
		return &memdb.IndexSchema{Name: name, Unique: unique, AllowMissing: !unique, Indexer: nodeIndexer(field)}
	}
	return &memdb.DBSchema{Tables: map[string]*memdb.TableSchema{nodeTable: {
		Name: nodeTable,
		Indexes: map[string]*memdb.IndexSchema{
			idIndex:       index(idIndex, true, func(n *Node) string { return n.ID }),
			parentIndex:   index(parentIndex, false, func(n *Node) string { return n.Parent }),
			kindIndex:     index(kindIndex, false, func(n *Node) string { return string(n.Kind) }),
			functionIndex: index(functionIndex, false, func(n *Node) string { return n.Key.Function }),
		},
	}}}
}

// nodeIndexer indexes one text of a node. A zero byte ends every value, so that
// no value is a prefix of another one. Empty values are not indexed.
type nodeIndexer func(*Node) string

var (
	_ memdb.SingleIndexer = nodeIndexer(nil)
	_ memdb.PrefixIndexer = nodeIndexer(nil)
)

func (f nodeIndexer) FromObject(obj any) (bool, []byte, error) {
	n, ok := obj.(*Node)
	if !ok {
		return false, nil, fmt.Errorf("catalogue holds *Node, not %T", obj)
	}
	value := f(n)
	return value != "", []byte(value + "\x00"), nil
}

func (f nodeIndexer) FromArgs(args ...any) ([]byte, error) {
	b, err := f.PrefixFromArgs(args...)
	return append(b, 0), err
}

func (f nodeIndexer) PrefixFromArgs(args ...any) ([]byte, error) {
	if len(args) != 1 {
		return nil, fmt.Errorf("look-up with %d arguments, want 1", len(args))
	}
	value, ok := args[0].(string)
	if !ok {
		return nil, fmt.Errorf("look-up of a %T, want a string", args[0])
	}
	return []byte(value), nil
}

// query returns the nodes that an index gives for value, oldest first. The
// schema is fixed, so an error is a mistake in this file.
func (s *Store) query(index, value string) []*Node {
	it, err := s.db.Txn(false).Get(nodeTable, index, value)
	if err != nil {
		panic(fmt.Sprintf("lineage: query %s = %q: %v", index, value, err))
	}
	var nodes []*Node
	for obj := it.Next(); obj != nil; obj = it.Next() {
		nodes = append(nodes, obj.(*Node))
	}
	slices.SortFunc(nodes, func(a, b *Node) int {
		return cmp.Or(a.Created.Compare(b.Created), strings.Compare(a.ID, b.ID))
	})
	return nodes
}

// List returns all nodes, oldest first.
func (s *Store) List() []*Node { return s.query(idIndex+"_prefix", "") }

// Children returns the nodes whose parent is id, oldest first.
func (s *Store) Children(id string) []*Node { return s.query(parentIndex, id) }

// Kind returns the nodes of one kind, oldest first.
func (s *Store) Kind(k Kind) []*Node { return s.query(kindIndex, string(k)) }

// Function returns the nodes, of any kind, whose key names the function, oldest
// first.
func (s *Store) Function(name string) []*Node { return s.query(functionIndex, name) }

// Get returns the node with this id, or the only one whose id begins with it.
// The error matches ErrNotFound or ErrAmbiguous.
func (s *Store) Get(idOrPrefix string) (*Node, error) {
	if idOrPrefix == "" {
		return nil, fmt.Errorf("node with an empty id: %w", ErrNotFound)
	}
	if n := s.lookup(idOrPrefix); n != nil {
		return n, nil
	}
	switch nodes := s.query(idIndex+"_prefix", idOrPrefix); len(nodes) {
	case 0:
		return nil, fmt.Errorf("node %s: %w", idOrPrefix, ErrNotFound)
	case 1:
		return nodes[0], nil
	default:
		return nil, fmt.Errorf("node %s: begins the ids %s: %w", idOrPrefix, nameNodes(nodes), ErrAmbiguous)
	}
}

// lookup returns the node with exactly this id, or nil.
func (s *Store) lookup(id string) *Node {
	obj, err := s.db.Txn(false).First(nodeTable, idIndex, id)
	if err != nil {
		panic(fmt.Sprintf("lineage: look up %q: %v", id, err))
	}
	n, _ := obj.(*Node)
	return n
}

// Lineage returns the nodes from the root down to n.
func (s *Store) Lineage(n *Node) ([]*Node, error) {
	path := []*Node{n}
	for n.Parent != "" {
		parent := s.lookup(n.Parent)
		if parent == nil {
			return nil, fmt.Errorf("node %s: parent %s: %w", n.ID, n.Parent, ErrOrphan)
		}
		path = append(path, parent)
		n = parent
	}
	slices.Reverse(path)
	return path, nil
}

// Watch returns a channel that is closed at the next change of the catalogue.
// Take it before reading, then read, then wait: no change is missed.
func (s *Store) Watch() <-chan struct{} {
	it, err := s.db.Txn(false).Get(nodeTable, idIndex+"_prefix", "")
	if err != nil {
		panic(fmt.Sprintf("lineage: watch: %v", err))
	}
	return it.WatchCh()
}

// nameNodes lists nodes for a message.
func nameNodes(nodes []*Node) string {
	const limit = 5
	var names []string
	for _, n := range nodes[:min(len(nodes), limit)] {
		name := n.ID[:12] + " (" + string(n.Kind)
		if n.Key.Function != "" {
			name += " " + n.Key.Function
		}
		names = append(names, name+")")
	}
	text := strings.Join(names, ", ")
	if more := len(nodes) - limit; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
