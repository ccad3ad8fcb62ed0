package api

import "time"

// GC asks for a collection; see lineage.GCOptions.
type GC struct {
	BudgetBytes uint64 `json:"budget_bytes,omitempty"`
	UnusedMS    int64  `json:"unused_ms,omitempty"`
	Damaged     bool   `json:"damaged,omitempty"`
	DryRun      bool   `json:"dry_run,omitempty"`
}

// Action is what becomes of a mark.
type Action string

// The actions.
const (
	Pin    Action = "pin"    // until At, if that is given
	Unpin  Action = "unpin"  //
	Tag    Action = "tag"    // Tag leads to Node from now on
	Untag  Action = "untag"  // Tag leads nowhere
	Expire Action = "expire" // at At, or never if that is not given
)

// Mark changes a pin, a tag or an expiry.
type Mark struct {
	Action Action    `json:"action"`
	Node   string    `json:"node,omitempty"` // its id, the beginning of it, or a tag
	Tag    string    `json:"tag,omitempty"`
	At     time.Time `json:"at,omitzero"`
}

// Reform asks for a node's file in another form: pages or differences.
type Reform struct {
	Form string `json:"form"`
}

// Reformed says what the file takes.
type Reformed struct {
	Before uint64 `json:"bytes_before"`
	After  uint64 `json:"bytes_after"`
}

// Flatten asks for a node that holds what a chain does; Onto is the node to hang it
// on, the image if it is empty.
type Flatten struct {
	Onto string `json:"onto,omitempty"`
}

// Imported says what an import did.
type Imported struct {
	Node      *Snapshot   `json:"node"`
	Added     []*Snapshot `json:"added"` // what was not there before
	Bytes     int64       `json:"bytes_read"`
	Skipped   int         `json:"layers_skipped"`
	NameTaken string      `json:"name_taken,omitempty"` // of the image; another one has it
}
