package planner

import "time"

// Bounds of a plan that is applied, and of the work for it.
const (
	MaxNodes       = 2048     // of a plan; the study's throughput no longer rose at 160
	MaxOwnersNodes = 256      // of an owner's own
	maxOwnersAll   = 1024     // of all of an owner's plans together
	maxOwnedNodes  = 8192     // of all owners' own plans together
	MaxPlans       = 256      // that are applied at a time
	MaxOwnersPlans = 32       // of them one owner's
	maxPathModules = 1024     // of all nodes above one another
	maxInstalled   = 1 << 14  // packages of an image
	maxModules     = 256      // of one package
	maxTops        = 1 << 13  // top-level modules that one package brings
	maxQueue       = 1 << 16  // functions that wait to be moved
	maxFitted      = 50_000   // functions that a plan is fitted to
	maxFittedPins  = 4 << 20  // packages that these have imported, together
	maxFile        = 64 << 20 // bytes of a file
	maxGoneFile    = 16 << 20 // bytes of each of the two files about code that is gone
	maxGoneLine    = 64 << 10 // bytes of a line of them
	maxWhy         = 500      // characters of a reason

	// ProbeTimeout bounds the import of one package, MakeTimeout that of a node's.
	ProbeTimeout = 30 * time.Second

	// share is the part of one processor that work beside the requests takes at most:
	// after each piece the planner rests for the rest.
	share = 5
	// maxRest bounds a rest: what takes longer than a quarter of it mostly waits.
	maxRest = 15 * time.Second
	// maxYield is how long a piece of work waits for who serves to be less busy.
	maxYield = 10 * time.Second
	// idleLook is how often that is looked at.
	idleLook = 250 * time.Millisecond
	// retryAfter is when what failed for want of room or machines is tried again.
	retryAfter = 10 * time.Second
)
