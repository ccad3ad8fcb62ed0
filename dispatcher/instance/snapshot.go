package instance

import (
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"

	"seuss/dirtytrack"
	"seuss/guest"
	"seuss/lineage"
	"seuss/vmm"
)

// Snapshot is a node that a VM can be brought to: loaded, checked against this host,
// its machine state decoded. It does not change; what is learned of it does.
type Snapshot struct {
	Node  *lineage.Node
	View  *lineage.View
	State *vmm.State // nil for an image node: it is booted, not restored
	Depth int        // in the tree; an image node's is 0
	Pages uint64     // that its lineage below the base and imports has changed
	Run   Mean       // of what instances of it took to answer, on VMs that stood ready

	callsOnce sync.Once
	calls     map[int]uint32 // see unsupported

	laying    sync.Mutex        // held while one of these is made
	laid      *lineage.Layout   // nil: not yet
	apart     *lineage.Layout   // see together; nil: not yet
	stretches []lineage.Stretch // that are in it
	stretched bool              // those are known

	loading loadingState
	holders atomic.Int32

	written atomic.Pointer[dirtytrack.PageSet] // by instances on new VMs; nil: not known
}

// Load reads the snapshot of a node and checks that this host can run it.
func (h *Host) Load(id string) (*Snapshot, error) {
	// A lineage.Snapshot, because the store unloads nodes when it keeps too many.
	loaded, err := h.Store.Snapshot(id)
	if err != nil {
		return nil, err
	}
	n := loaded.Node
	chain, err := h.Store.Lineage(n)
	if err != nil {
		return nil, err
	}
	s := &Snapshot{Node: n, View: loaded.View, Depth: len(chain) - 1}
	for _, a := range chain {
		if k := a.Info.Kind; a.Info.Private() || a == n && k != lineage.KindImage {
			s.Pages += a.Info.DeltaPages
		}
	}
	if n.Info.Kind == lineage.KindImage {
		return s, nil
	}
	if err := h.checkCPU(n); err != nil {
		return nil, err
	}
	s.State = new(vmm.State)
	if err := s.State.UnmarshalBinary(loaded.State); err != nil {
		return nil, fmt.Errorf("node %.12s: %w", id, err)
	}
	s.State = s.State.Adapt(h.Platform.CPU())
	return s, nil
}

// Hold notes that somebody needs the node: it is not to be collected until Release.
func (s *Snapshot) Hold() { s.holders.Add(1) }

// Release ends a Hold.
func (s *Snapshot) Release() { s.holders.Add(-1) }

// Held reports whether somebody holds the snapshot.
func (s *Snapshot) Held() bool { return s.holders.Load() > 0 }

// unsupported returns the counts of unsupported system calls that the snapshot's memory
// holds: what was called before it was captured.
func (s *Snapshot) unsupported() map[int]uint32 {
	s.callsOnce.Do(func() { s.calls = s.readUnsupported() })
	return s.calls
}

func (s *Snapshot) readUnsupported() map[int]uint32 {
	calls := map[int]uint32{}
	var page [lineage.PageSize]byte
	held := ^uint64(0)
	word := func(gpa uint64, n int) uint64 {
		if number := gpa / lineage.PageSize; number != held {
			if s.View.CopyPage(page[:], number) != nil {
				clear(page[:]) // whoever runs the guest is told
			}
			held = number
		}
		if at := gpa % lineage.PageSize; at+uint64(n) <= lineage.PageSize {
			if n == 4 {
				return uint64(binary.LittleEndian.Uint32(page[at:]))
			}
			return binary.LittleEndian.Uint64(page[at:])
		}
		return 0
	}
	table := word(guest.ControlGPA+guest.ControlENOSYSGPA, 8)
	if end := s.View.Pages() * lineage.PageSize; table == 0 || table > end || end-table < 4*guest.Syscalls {
		return calls // an image node, or a guest that forged it
	}
	for n := range guest.Syscalls {
		if count := word(table+uint64(4*n), 4); count != 0 {
			calls[n] = uint32(count)
		}
	}
	return calls
}
