package api

import (
	"context"
	"encoding/json"

	"seuss/dispatcher"
	"seuss/dispatcher/chain"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/imports"
	"seuss/dispatcher/instances"
	"seuss/dispatcher/layers"
	"seuss/dispatcher/park"
	"seuss/dispatcher/state"
	"seuss/dispatcher/tiers"
	"seuss/lineage"
	"seuss/lineage/oci"
)

// The nouns of the service, in documents: Local has them in this process, the
// client of the native API has them over the wire, and seussctl works on them
// wherever the service is. Who needs less than all of it takes the nouns that it
// needs.

// Functions are what is deployed.
type Functions interface {
	// Functions lists the deployments, versions included. Those that cannot be read
	// are left out and described by the error.
	Functions(ctx context.Context) ([]Function, error)
	// FunctionImports says what the load of a function's code has imported.
	FunctionImports(ctx context.Context, name string) (*imports.Record, error)
	Deploy(ctx context.Context, spec dispatcher.FunctionSpec) (*Snapshot, error)
	// Update changes settings of a function, not of a version.
	Update(ctx context.Context, name string, ask Update) (*Function, error)
	// RemoveFunction removes a function with all versions, or one version.
	RemoveFunction(ctx context.Context, deployment string) error
}

// Invocations run functions.
type Invocations interface {
	Invoke(ctx context.Context, request dispatcher.Request) (*dispatcher.Result, error)
	// RunOnce runs code that is not deployed.
	RunOnce(ctx context.Context, spec dispatcher.FunctionSpec, request dispatcher.Request) (*dispatcher.Result, error)
	Explain(ctx context.Context, name string, event []byte) ([]dispatcher.Candidate, error)
}

// Snapshots are the nodes of the lineage that there are. A reference is an id, the
// beginning of one, or a tag.
type Snapshots interface {
	Snapshots(ctx context.Context) ([]*Snapshot, error) // oldest first
	Snapshot(ctx context.Context, ref string) (*Snapshot, error)
	// RemoveSnapshot removes a node; cascade takes its descendants along, otherwise
	// a node with descendants is refused.
	RemoveSnapshot(ctx context.Context, ref string, cascade bool) error
	Collect(ctx context.Context, ask GC) (lineage.GCReport, error)
	Mark(ctx context.Context, m Mark) error
	// Reform stores a node's file anew in another form.
	Reform(ctx context.Context, ref string, ask Reform) (Reformed, error)
	// Flatten makes a node that holds what the chain above another one does.
	Flatten(ctx context.Context, ref string, ask Flatten) (*Snapshot, error)
}

// Captures make snapshots.
type Captures interface {
	// Runtime is a name that the image has; "" is its first.
	Base(ctx context.Context, image, runtime string) (*Snapshot, error)
	Import(ctx context.Context, image, runtime string, modules []string) (*Snapshot, error)
	CaptureArgument(ctx context.Context, function string, c dispatcher.Capture) (*Snapshot, error)
	// Receive takes over the nodes of an image of a lineage, and gives the last one
	// a tag if that is not empty.
	Receive(ctx context.Context, src *oci.Source, tag string) (*Imported, error)
}

// Images are root file systems.
type Images interface {
	ListImages(ctx context.Context) ([]Image, error) // the newest first
	RemoveImage(ctx context.Context, ref string, cascade bool) (dispatcher.RemovedImage, error)
	// Refresh makes the state directory show what the service knows, and the service
	// see what was put there beside it.
	Refresh(ctx context.Context) error
}

// Pools are the machines that stand ready, and what runs on them.
type Pools interface {
	Pools(ctx context.Context) ([]dispatcher.PoolStats, error)
	Instances(ctx context.Context) ([]dispatcher.Instance, error)
}

// Tiers are what starts are made of.
type Tiers interface {
	// Tiers returns their counts since the service began, and what they hold.
	Tiers(ctx context.Context) (tiers.Tiers, error)
}

// Service is all of it.
type Service interface {
	Functions
	Invocations
	Snapshots
	Inspections
	Captures
	Images
	Pools
	Plans
	Tiers
}

// Deployments are the records of what is deployed, for who serves the service: an
// edit is a function of this process.
type Deployments interface {
	Lookup(name string) (*dispatcher.Deployment, error)
	Resolve(name string) (deployment string, err error)
	Function(deployment string) (functions.Function, error)
	Versions(name string) ([]functions.Function, error)
	// Owned lists an owner's deployments, as Functions.Functions does everybody's.
	Owned(owner string) ([]functions.Function, error)
	FunctionFiles(functions.Function) (files map[string][]byte, warmUp []json.RawMessage, err error)
	Configure(name, revision string, edit func(*functions.Settings)) (functions.Function, error)
	Publish(name, revision, packageDigest string, description *string) (functions.Function, error)
	PutAlias(name, alias string, create bool, revision string, edit func(*functions.Alias)) (functions.Alias, error)
	RemoveAlias(name, alias string) error
	Attach(name, qualifier, revision string, edit func(*functions.Attached) error) (functions.Function, error)
	URLTarget(id string) (name string, u *functions.URL, err error)
}

// Hosted is a service in this process, with what its front doors need beside.
type Hosted interface {
	Service
	Deployments
	// Run is Invoke for who has something to do between the result and the reset of the
	// machine.
	Run(ctx context.Context, request *dispatcher.Request) (dispatcher.Invocation, error)
	// Lot is where instances that wait are parked.
	Lot() *park.Lot
	// Values are what functions share, by key.
	Values() *state.Store
	// Live keeps instances that live on.
	Live() *instances.Keeper
	// Chained has what functions have called.
	Chained() *chain.Chains
	// Replica is the deployments for the other members of a cluster.
	Replica() dispatcher.Replica
	ImageMemory(image string) (bytes uint64, err error)
	RuntimeImage(runtime string) (image string, err error)
	ContainerImage(c *functions.Container) (image string, err error)
	ContainerProgram(image string, c *functions.Container) (*functions.Program, error)
	LambdaRuntime(*functions.Function) string
	// Layers are the published ones; LayeredImage is the image of a name with some above it.
	Layers() *layers.Store
	LayeredImage(ctx context.Context, image string, list []layers.Version) (digest string, err error)
	Stats() dispatcher.Stats
	// Unready says in a few words each why the service cannot serve; none: it can.
	Unready() []string
	StateDir() string
	// Describe describes a deployment.
	Describe(deployment string) (*Function, error)
	// FunctionsWhere is Functions of some owners, and of them those that are wanted.
	FunctionsWhere(owners []string, wanted func(key string) bool) ([]Function, error)
	// SnapshotsWhere is Snapshots of those that are wanted.
	SnapshotsWhere(wanted func(*lineage.Node) bool) []*Snapshot
	// Watch returns a channel that is closed when the snapshots change.
	Watch() <-chan struct{}
}
