package lineage

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/go-memdb"

	"seuss/lineage/nodefile"
)

// The catalogue is a memdb of nodes and marks. Every read works on an immutable
// root, so a reader sees the state between two changes, never one half done.
const (
	nodeTable = "node"
	markTable = "mark"

	idIndex       = "id"
	parentIndex   = "parent"
	kindIndex     = "kind"
	functionIndex = "function"
	argumentIndex = "argument" // argument nodes, by their path of bindings
	nodeIndex     = "node"     // marks, by node
)

func catalogueSchema() *memdb.DBSchema {
	return &memdb.DBSchema{Tables: map[string]*memdb.TableSchema{
		nodeTable: {Name: nodeTable, Indexes: map[string]*memdb.IndexSchema{
			idIndex:       textIndex(idIndex, true, func(n *Node) string { return n.ID }),
			parentIndex:   textIndex(parentIndex, false, func(n *Node) string { return n.Parent }),
			kindIndex:     textIndex(kindIndex, false, func(n *Node) string { return string(n.Kind) }),
			functionIndex: textIndex(functionIndex, false, func(n *Node) string { return n.Key.Function }),
			argumentIndex: textIndex(argumentIndex, false, func(n *Node) string {
				if n.Kind != nodefile.KindArgument {
					return ""
				}
				return argumentPath(n.Key.Function, n.Key.Args)
			}),
		}},
		markTable: {Name: markTable, Indexes: map[string]*memdb.IndexSchema{
			idIndex:   textIndex(idIndex, true, (*Mark).key),
			nodeIndex: textIndex(nodeIndex, false, func(m *Mark) string { return m.Node }),
		}},
	}}
}

// argumentPath is the index value of an argument node: the path of a node below
// it in the trie begins with its own.
func argumentPath(function string, args []nodefile.Binding) string {
	var b strings.Builder
	b.WriteString(function)
	for _, a := range args {
		fmt.Fprintf(&b, "\x01%d:%s=%s", len(a.Key), a.Key, a.Digest)
	}
	return b.String()
}

func textIndex[T any](name string, unique bool, field func(T) string) *memdb.IndexSchema {
	return &memdb.IndexSchema{Name: name, Unique: unique, AllowMissing: !unique, Indexer: textIndexer[T](field)}
}

// textIndexer indexes one text of an object. A zero byte ends every value, so that
// no value is a prefix of another one. Empty values are not indexed.
type textIndexer[T any] func(T) string

var (
	_ memdb.SingleIndexer = textIndexer[*Node](nil)
	_ memdb.PrefixIndexer = textIndexer[*Node](nil)
)

func (f textIndexer[T]) FromObject(obj any) (bool, []byte, error) {
	o, ok := obj.(T)
	if !ok {
		return false, nil, fmt.Errorf("catalogue holds %T, not %T", o, obj)
	}
	value := f(o)
	return value != "", []byte(value + "\x00"), nil
}

func (f textIndexer[T]) FromArgs(args ...any) ([]byte, error) {
	b, err := f.PrefixFromArgs(args...)
	return append(b, 0), err
}

func (f textIndexer[T]) PrefixFromArgs(args ...any) ([]byte, error) {
	if len(args) != 1 {
		return nil, fmt.Errorf("look-up with %d arguments, want 1", len(args))
	}
	value, ok := args[0].(string)
	if !ok {
		return nil, fmt.Errorf("look-up of a %T, want a string", args[0])
	}
	return []byte(value), nil
}

// Catalogue is the state of a Store's catalogue at one moment: whatever changes
// later, its methods go on giving the same answers. It costs nothing to keep, but
// the memory of what was removed since.
type Catalogue struct{ txn *memdb.Txn }

// Catalogue returns the present state.
func (s *Store) Catalogue() Catalogue { return s.catalogue() }

func (s *Store) catalogue() Catalogue { return Catalogue{s.db.Txn(false)} }

// get returns what an index gives for value. The schema is fixed, so an error is a
// mistake in this file.
func get[T any](c Catalogue, table, index, value string) (found []T) {
	it, err := c.txn.Get(table, index, value)
	if err != nil {
		panic(fmt.Sprintf("lineage: query %s by %s = %q: %v", table, index, value, err))
	}
	for obj := it.Next(); obj != nil; obj = it.Next() {
		found = append(found, obj.(T))
	}
	return found
}

func (c Catalogue) nodes(index, value string) []*Node {
	nodes := get[*Node](c, nodeTable, index, value)
	slices.SortFunc(nodes, func(a, b *Node) int {
		return cmp.Or(a.Created.Compare(b.Created), strings.Compare(a.ID, b.ID))
	})
	return nodes
}

// List returns all nodes, oldest first.
func (c Catalogue) List() []*Node { return c.nodes(idIndex+"_prefix", "") }

// Len returns the number of nodes.
func (c Catalogue) Len() int { return len(get[*Node](c, nodeTable, idIndex+"_prefix", "")) }

// Children returns the nodes whose parent is id, oldest first.
func (c Catalogue) Children(id string) []*Node { return c.nodes(parentIndex, id) }

// Kind returns the nodes of one kind, oldest first.
func (c Catalogue) Kind(k nodefile.Kind) []*Node { return c.nodes(kindIndex, string(k)) }

// Function returns the nodes, of any kind, whose key names the function, oldest
// first.
func (c Catalogue) Function(name string) []*Node { return c.nodes(functionIndex, name) }

// FunctionPrefix returns the nodes whose key names a function that begins so, in no order.
func (c Catalogue) FunctionPrefix(prefix string) []*Node {
	return get[*Node](c, nodeTable, functionIndex+"_prefix", prefix)
}

// Arguments returns the argument nodes of a function whose bindings begin with
// args, oldest first.
func (c Catalogue) Arguments(function string, args []nodefile.Binding) []*Node {
	nodes := c.nodes(argumentIndex+"_prefix", argumentPath(function, args))
	// A function's name may begin another one's.
	return slices.DeleteFunc(nodes, func(n *Node) bool { return n.Key.Function != function })
}

// Marks returns all marks, in the order of kind and name.
func (c Catalogue) Marks() []*Mark { return get[*Mark](c, markTable, idIndex+"_prefix", "") }

// NodeMarks returns the marks of one node.
func (c Catalogue) NodeMarks(id string) []*Mark { return get[*Mark](c, markTable, nodeIndex, id) }

// Get returns the node with this id, the one with this tag, or the only one whose
// id begins with it. The error matches ErrNotFound or ErrAmbiguous.
func (c Catalogue) Get(name string) (*Node, error) {
	if name == "" {
		return nil, fmt.Errorf("node with an empty id: %w", ErrNotFound)
	}
	if n := c.lookup(name); n != nil {
		return n, nil
	}
	tag := Mark{Kind: MarkTag, Name: name}
	for _, m := range get[*Mark](c, markTable, idIndex, tag.key()) {
		if n := c.lookup(m.Node); n != nil {
			return n, nil
		}
	}
	switch nodes := c.nodes(idIndex+"_prefix", name); len(nodes) {
	case 0:
		return nil, fmt.Errorf("node %s: %w", name, ErrNotFound)
	case 1:
		return nodes[0], nil
	default:
		return nil, fmt.Errorf("node %s: begins the ids %s: %w", name, nameNodes(nodes), ErrAmbiguous)
	}
}

// lookup returns the node with exactly this id, or nil.
func (c Catalogue) lookup(id string) *Node {
	obj, err := c.txn.First(nodeTable, idIndex, id)
	if err != nil {
		panic(fmt.Sprintf("lineage: look up %q: %v", id, err))
	}
	n, _ := obj.(*Node)
	return n
}

// Lineage returns the nodes from the root down to n.
func (c Catalogue) Lineage(n *Node) ([]*Node, error) {
	path := []*Node{n}
	for n.Parent != "" {
		parent := c.lookup(n.Parent)
		if parent == nil {
			return nil, fmt.Errorf("node %s: parent %s: %w", n.ID, n.Parent, ErrOrphan)
		}
		path = append(path, parent)
		n = parent
	}
	slices.Reverse(path)
	return path, nil
}

func (c Catalogue) watch(table, index, value string) <-chan struct{} {
	it, err := c.txn.Get(table, index, value)
	if err != nil {
		panic(fmt.Sprintf("lineage: watch %s by %s = %q: %v", table, index, value, err))
	}
	return it.WatchCh()
}

// Watch returns a channel that is closed when a node is added or removed.
func (c Catalogue) Watch() <-chan struct{} { return c.watch(nodeTable, idIndex+"_prefix", "") }

// WatchFunction returns a channel that is closed when a node of the function is
// added or removed. It may be closed for other changes too.
func (c Catalogue) WatchFunction(name string) <-chan struct{} {
	return c.watch(nodeTable, functionIndex, name)
}

// WatchChildren returns a channel that is closed when a child of the node is added
// or removed. It may be closed for other changes too.
func (c Catalogue) WatchChildren(id string) <-chan struct{} {
	return c.watch(nodeTable, parentIndex, id)
}

// WatchMarks returns a channel that is closed when a mark changes.
func (c Catalogue) WatchMarks() <-chan struct{} { return c.watch(markTable, idIndex+"_prefix", "") }

// These read the present state; see Catalogue for what they return.

func (s *Store) List() []*Node                    { return s.catalogue().List() }
func (s *Store) Children(id string) []*Node       { return s.catalogue().Children(id) }
func (s *Store) Kind(k nodefile.Kind) []*Node     { return s.catalogue().Kind(k) }
func (s *Store) Function(name string) []*Node     { return s.catalogue().Function(name) }
func (s *Store) FunctionPrefix(p string) []*Node  { return s.catalogue().FunctionPrefix(p) }
func (s *Store) Get(name string) (*Node, error)   { return s.catalogue().Get(name) }
func (s *Store) Lineage(n *Node) ([]*Node, error) { return s.catalogue().Lineage(n) }
func (s *Store) lookup(id string) *Node           { return s.catalogue().lookup(id) }

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
