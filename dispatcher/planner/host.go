package planner

import (
	"context"
	"encoding/json"

	"seuss/dispatcher/imports"
	"seuss/images/runtimes"
)

// Place is a runtime of an image: what a plan is for.
type Place struct {
	Image  string `json:"image"`             // name, for people
	Digest string `json:"image_digest"`      //
	Key    string `json:"runtime,omitempty"` // of the runtime in nodes' keys; "" is the first
	// Runtime says how packages are looked into.
	Runtime *runtimes.Runtime `json:"-"`
}

// id tells places apart.
func (p *Place) id() string { return p.Digest + " " + p.Key }

// Probe is a function that is run once where nothing but the image has run.
type Probe struct {
	Files   map[string][]byte
	Handler string
}

// Host does what takes a machine, or knows of nodes and functions.
type Host interface {
	// Place finds an image and its runtime by their names.
	Place(image, runtime string) (Place, error)
	// Current reports whether the image's name still leads to the place.
	Current(Place) bool
	// Probe loads code in a fresh instance of the place's base and runs it once, on a
	// machine beside those that serve.
	Probe(context.Context, Place, Probe) (*imports.Record, json.RawMessage, error)
	// Make makes the node at the end of steps, as far as it is not there, on machines
	// beside those that serve. What it makes is charged to owner; "": nobody.
	Make(ctx context.Context, p Place, owner string, steps []Step) (made bool, err error)
	// Busy reports whether who serves has no machines to spare, or lately had none.
	Busy() bool
	// Deployed lists the functions of all owners that may start by a plan, with their
	// places. What cannot be read of them is left out, and described by the error.
	Deployed() ([]Deployed, error)
	// Imported returns what loading a function's code has imported, nil if that is not known.
	Imported(function string) (*imports.Summary, error)
	// Function returns what a function's start depends on.
	Function(name string) (Place, *Function, error)
	// Settled is told when all is made that can be: functions that are used from then on
	// are to be told to Touched once more.
	Settled()
	// Move captures a function anew below its best node, if it stands elsewhere.
	Move(ctx context.Context, function string) (moved bool, err error)
}

// Deployed is a function that may start by a plan.
type Deployed struct {
	Place
	Name  string
	Owner string
	Code  string // its digest
	Calls uint64 // since its snapshots were made
}

// Step is a node on the way to another one: the modules that it imports beyond its parent,
// in order.
type Step struct {
	Modules []string `json:"modules"`
}
