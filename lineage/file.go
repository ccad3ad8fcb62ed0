package lineage

import (
	"iter"

	"seuss/lineage/nodefile"
	"seuss/lineage/pages"
)

// What is said about nodes, as their files say it: see package nodefile.
type (
	Info        = nodefile.Info
	Kind        = nodefile.Kind
	Key         = nodefile.Key
	Binding     = nodefile.Binding
	CPUFeatures = nodefile.CPUFeatures
	Purity      = nodefile.Purity
	Form        = nodefile.Form
	Digest      = nodefile.Digest
	LoadingSet  = nodefile.LoadingSet
	PageRun     = nodefile.PageRun
)

// What a node's memory is: see package pages.
type (
	View      = pages.View
	Blob      = pages.Blob
	Run       = pages.Run
	Layout    = pages.Layout
	Stretch   = pages.Stretch
	Flat      = pages.Flat
	PageError = pages.PageError
	Verify    = pages.Verify
)

// When pages are compared with their checksums.
const (
	VerifyEager  = pages.VerifyEager
	VerifyLazy   = pages.VerifyLazy
	VerifyDemand = pages.VerifyDemand
)

// PageSize is the size of a guest page in bytes.
const PageSize = nodefile.PageSize

// The stages of a lineage. Only KindImage is special, as the root.
const (
	KindImage    = nodefile.KindImage
	KindBase     = nodefile.KindBase
	KindImport   = nodefile.KindImport
	KindFunction = nodefile.KindFunction
	KindArgument = nodefile.KindArgument
	KindInstance = nodefile.KindInstance
)

// How a node's pages are stored.
const (
	FormAuto        = nodefile.FormAuto
	FormPages       = nodefile.FormPages
	FormDifferences = nodefile.FormDifferences
)

// ParseDigest reads what Digest.String writes.
func ParseDigest(s string) (Digest, error) { return nodefile.ParseDigest(s) }

// Preview shortens a value to what a Binding may carry.
func Preview(value []byte) string { return nodefile.Preview(value) }

// NewLoadingSet makes a set of pages in the order in which they are needed.
func NewLoadingSet(pages []uint64) LoadingSet { return nodefile.NewLoadingSet(pages) }

// NodeVersions are the versions of the node file that this program reads.
func NodeVersions() []int { return nodefile.Versions() }

// NewView returns a View of zero pages.
func NewView(count uint64) *View { return pages.NewView(count) }

// Lay says how a View's pages are mapped with few mappings: see pages.Lay.
func Lay(v *View, most int) (*Layout, error) { return pages.Lay(v, most) }

// LayStretches says how stretches of a View are mapped: see pages.LayStretches.
func LayStretches(v *View, stretches []Stretch) (*Layout, error) {
	return pages.LayStretches(v, stretches)
}

// Diff yields the runs of pages (first, count) whose backing differs: see pages.Diff.
func Diff(a, b *View) iter.Seq2[uint64, uint64] { return pages.Diff(a, b) }
