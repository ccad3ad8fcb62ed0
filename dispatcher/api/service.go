package api

import (
	"context"
	"encoding/json"

	"seuss/dispatcher"
	"seuss/dispatcher/functions"
	"seuss/lineage"
	"seuss/lineage/oci"
)

// The nouns of the service. A Service is what a *dispatcher.Dispatcher does, for the
// front doors; each takes the nouns that it needs.

// Functions are deployments, their versions and aliases.
type Functions interface {
	Lookup(name string) (*dispatcher.Deployment, error)
	Resolve(name string) (deployment string, err error)
	Function(deployment string) (functions.Function, error)
	Functions() ([]functions.Function, error)
	Versions(name string) ([]functions.Function, error)
	FunctionFiles(functions.Function) (files map[string][]byte, warmUp []json.RawMessage, err error)
	Deploy(ctx context.Context, spec dispatcher.FunctionSpec) (*lineage.Node, error)
	Configure(name, revision string, edit func(*functions.Settings)) (functions.Function, error)
	Publish(name, revision, packageDigest string, description *string) (functions.Function, error)
	PutAlias(name, alias string, create bool, revision string, edit func(*functions.Alias)) (functions.Alias, error)
	RemoveAlias(name, alias string) error
	RemoveFunction(deployment string) error
}

// Invocations run functions.
type Invocations interface {
	Invoke(ctx context.Context, request dispatcher.Request) (*dispatcher.Result, error)
	RunOnce(ctx context.Context, spec dispatcher.FunctionSpec, request dispatcher.Request) (*dispatcher.Result, error)
	Explain(name string, event []byte) ([]dispatcher.Candidate, error)
}

// Snapshots are the nodes of the lineage.
type Snapshots interface {
	Store() *lineage.Store
	Base(ctx context.Context, image string) (*lineage.Node, error)
	Import(ctx context.Context, image string, modules []string) (*lineage.Node, error)
	CaptureArgument(ctx context.Context, function string, event []byte, stopAt string) (*lineage.Node, error)
	Receive(ctx context.Context, src *oci.Source, tag string) (*dispatcher.Received, error)
	RemoveNode(idOrPrefix string, cascade bool) error
	Collect(lineage.GCOptions) (lineage.GCReport, error)
	Refresh() error
}

// Images are root file systems.
type Images interface {
	ImageMemory(image string) (bytes uint64, err error)
	RemoveImage(ref string, cascade bool) (digest string, nodes []string, err error)
}

// Pools are the machines that stand ready, and what runs on them.
type Pools interface {
	Pools() []dispatcher.PoolStats
	Instances() []dispatcher.Instance
	Stats() dispatcher.Stats
}

// Service is all of it.
type Service interface {
	Functions
	Invocations
	Snapshots
	Images
	Pools
}

var _ Service = (*dispatcher.Dispatcher)(nil)
