package api

import (
	"seuss/dispatcher/instance"
	"seuss/dispatcher/instances"
)

// Fork asks for copies of an instance.
type Fork struct {
	Count int      `json:"count,omitempty"` // 0: one, or as many as there are names
	Names []string `json:"names,omitempty"` // of the first ones; the others' are made up
}

// Checkpoint asks for a node of what an instance is, and for a tag that leads there.
type Checkpoint struct {
	Tag string `json:"tag,omitempty"`
}

// Rollback asks for an instance to be what it was at a node: an id, the beginning of one, or
// a tag.
type Rollback struct {
	Node string `json:"node"`
}

// Piece is a part of a streamed answer: output, as it is printed, and last the answer, or
// why there is none.
type Piece struct {
	Output *instance.LogLine `json:"output,omitempty"`
	Lost   uint64            `json:"lost_bytes,omitempty"` // of output, before the answer, which the client was too slow for
	Answer *instances.Answer `json:"answer,omitempty"`
	Error  *Error            `json:"error,omitempty"`
}
