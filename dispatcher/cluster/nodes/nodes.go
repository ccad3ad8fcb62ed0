// Package nodes has members of a cluster give each other the snapshots that functions start from:
// the function's node, what it hangs on up to the image, and the image, each file by its id,
// straight from member to member. A member that lacks a function's snapshot asks those that say
// that they hold it, while it makes its own.
//
// What is given holds what a function's code left in memory when it was loaded. It is given for a
// deployment that both sides have with the same code, and only what that deployment starts from.
// What comes is checked as what comes from a stranger is: it lies in a spool until all of it is
// there, and the store takes it only when it is what its id says.
//
// Units: bytes. Ownership: an Exchange owns nothing that must be closed; files in its spool go
// with the request that made them.
//
// Locks: a keyed one by image, held while it is fetched; who waits for it goes when his context
// ends.
package nodes

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"seuss/dispatcher/cluster/held"
	"seuss/dispatcher/cluster/peers"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/keyed"
	"seuss/lineage"
)

// Errors.
var (
	// ErrNobody: no member says that it holds the snapshot.
	ErrNobody = errors.New("no other member holds the function's snapshot")
	// ErrBusy: as much is fetched, or given, as may be at a time.
	ErrBusy = errors.New("too many snapshots are under way between members")
	// ErrOther: what a member holds is not what is wanted here, or cannot run here.
	ErrOther = errors.New("the member's snapshot does not fit here")
	// ErrSlow: to fetch it would take longer than to make it.
	ErrSlow = errors.New("it is made faster than fetched")
	// ErrRoom: the disk has no room for it.
	ErrRoom = errors.New("the disk has no room for it")
)

// Bounds.
const (
	maxFetching = 4  // functions whose snapshots are fetched at a time
	maxGiving   = 32 // files that are given at a time
	maxAsked    = 3  // members that are asked for one function
	maxDepth    = 300
	maxChain    = 8 << 20 // bytes of a description
	maxNodes    = 4 << 30 // bytes of the nodes of one function
	maxImage    = 16 << 30
	// fetchTimeout bounds all of it where no image comes along; a file is given in grace
	// and what its bytes take at pace.
	fetchTimeout = 30 * time.Second
	imageTimeout = 10 * time.Minute
	grace        = 30 * time.Second
	pace         = 1 << 20 // a second
	// reserve of the disk is left free, but no more than a reservePart of all of it.
	reserve     = 1 << 30
	reservePart = 20
)

// Want is what a member lacks.
type Want struct {
	// Deployment is the function, with its version if it has one; Code is the digest of its
	// code, the rest is as in the deployment.
	Deployment string `json:"deployment"`
	Code       string `json:"code"`
	Handler    string `json:"handler"`
	Lazy       bool   `json:"lazy,omitempty"`
	// Image is the digest of the image that it runs in here. "": there is none, and ImageName
	// is what it is called here when it has come.
	Image     string `json:"image,omitempty"`
	ImageName string `json:"-"`
	// Based and Imported say what is here that it would be made of: the runtime's base, and
	// what the deployment imports.
	Based    bool `json:"-"`
	Imported bool `json:"-"`
}

// Key is what members say of it that hold it.
func (w *Want) Key() held.Key { return held.KeyOf(functions.BaseName(w.Deployment), w.Code) }

// Parcel is what has come: nodes below one that is here, from above, and the image if that was
// not here.
type Parcel struct {
	Want      *Want
	Image     string // path of the image's stream; "": it is here
	ImageSize int64
	Digest    string // of the image
	Nodes     []Piece
}

// Piece is a node that has come.
type Piece struct {
	Info    lineage.Info
	Path    string
	Size    int64
	Loading lineage.LoadingSet // nil: none is known
}

// Service is this member's own snapshots.
type Service interface {
	Store() *lineage.Store
	// Holding returns the nodes that a deployment starts from, from the image's down to the
	// function's, if there are all and may be given: the deployment is here with that code.
	Holding(w *Want) ([]*lineage.Node, error)
	// Fits says why a node cannot run on this host; nil: it can.
	Fits(*lineage.Info) error
	// TakeNodes adds what has come to the store. After an error, or when ctx ends, the nodes
	// before are there and whole, and nothing else has changed.
	TakeNodes(ctx context.Context, p *Parcel) error
}

// Counts are since the start.
type Counts struct {
	Fetched      atomic.Uint64 // nodes that came from other members
	FetchedBytes atomic.Uint64 // of them and of images, read over the network
	Given        atomic.Uint64 // files that were given to other members
	GivenBytes   atomic.Uint64
	Failed       atomic.Uint64 // functions that were fetched in vain, refusals among them
}

// Options are what an Exchange is made of. All are needed.
type Options struct {
	Service Service
	Peers   *peers.Peers
	// Holders lists other members that say that they hold something, best first.
	Holders func(held.Key) []string
	Spool   string // a folder on the store's disk; it is made if it is not there
	// Free says what the disk of a folder has for this process, and has in all.
	Free func(dir string) (free, all uint64, err error)
	Log  *slog.Logger
}

// Exchange is this member's side of it.
type Exchange struct {
	Counts   Counts
	o        Options
	fetching *semaphore.Weighted
	giving   *semaphore.Weighted
	images   keyed.Locks   // by digest
	rate     atomic.Uint64 // bytes a second that came at last
}

// firstRate is taken before anything has come: that of a network of one Gbit/s.
const firstRate = 100 << 20

// New makes an Exchange that serves other members from now on.
func New(o Options) *Exchange {
	x := &Exchange{o: o, fetching: semaphore.NewWeighted(maxFetching), giving: semaphore.NewWeighted(maxGiving)}
	x.rate.Store(firstRate)
	o.Peers.Handle("POST "+chainPath, x.describe)
	o.Peers.Handle("POST "+filePath, x.give)
	return x
}
