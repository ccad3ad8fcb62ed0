package nodefile

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Kind says at which stage a node was captured.
type Kind string

// The stages of a lineage. Only KindImage is special, as the root.
const (
	KindImage    Kind = "image"    // root: the memory that an image prescribes
	KindBase     Kind = "base"     // runtime started
	KindImport   Kind = "import"   // libraries imported
	KindFunction Kind = "function" // function code loaded
	KindArgument Kind = "argument" // function stopped at a question for an argument
	KindInstance Kind = "instance" // a live instance, at rest between two uses
)

var kinds = []Kind{KindImage, KindBase, KindImport, KindFunction, KindArgument, KindInstance}

// maxPreviewBytes bounds the readable part of a bound argument.
const maxPreviewBytes = 64

// maxKeyBytes bounds each text of a Key.
const maxKeyBytes = 4096

// Key says what a node has loaded, as the dispatcher matches it.
type Key struct {
	Function   string    `json:"function,omitempty"`
	Handler    string    `json:"handler,omitempty"`
	CodeDigest string    `json:"code_digest,omitempty"`
	Imports    []string  `json:"imports,omitempty"`
	Args       []Binding `json:"args,omitempty"`
	Lazy       bool      `json:"lazy,omitempty"`
	// NextKey is the argument whose value the stopped function waits for. Where there is a
	// Contract it is what the program waits for, and of an instance what program that is (a
	// JSON object of the dispatcher's).
	NextKey string `json:"next_key,omitempty"`
	// Runtime is the runtime of the image that was started, "" for the one that is meant
	// where nothing says which.
	Runtime string `json:"runtime,omitempty"`
	// Contract is how a function's program said that it was ready, by name; "" for a
	// runtime's driver.
	Contract string `json:"contract,omitempty"`
}

// Clone returns a Key that shares nothing with k.
func (k Key) Clone() Key {
	k.Imports, k.Args = slices.Clone(k.Imports), slices.Clone(k.Args)
	return k
}

// Owner returns whose content a node with the key may hold: what stands before a slash in
// Function; "" is one owner too.
func (k *Key) Owner() string {
	owner, _, owned := strings.Cut(k.Function, "/")
	if !owned {
		return ""
	}
	return owner
}

// Private reports whether a node holds content of its function's owner. The others hold
// what came from the image.
func (i *Info) Private() bool {
	return i.Kind == KindFunction || i.Kind == KindArgument || i.Kind == KindInstance
}

// MayShare reports whether a node may have pages in the file of another: in its owner's
// own nodes, and in those that hold what came from the image.
func (i *Info) MayShare(with *Info) bool {
	return !with.Private() || i.Private() && i.Key.Owner() == with.Key.Owner()
}

// Binding is one argument that was bound before the capture, in binding order.
type Binding struct {
	Key     string `json:"key"`
	Digest  string `json:"digest"`            // SHA-256 of the value, hex
	Preview string `json:"preview,omitempty"` // up to 64 bytes of the value, for people
}

// Preview shortens a value to what a Binding may carry: valid UTF-8 of at most
// 64 bytes, cut between characters.
func Preview(value []byte) string {
	s := strings.ToValidUTF8(string(value[:min(len(value), maxPreviewBytes+utf8.UTFMax)]), "?")
	if len(s) <= maxPreviewBytes {
		return s
	}
	end := maxPreviewBytes
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}

// CPUFeatures records the processor that a snapshot was taken on.
type CPUFeatures struct {
	Opaque string   `json:"opaque,omitempty"` // the recorder's own exact description
	Named  []string `json:"named,omitempty"`  // features by name, for messages
}

func (c *CPUFeatures) Equal(o *CPUFeatures) bool {
	return c.Opaque == o.Opaque && slices.Equal(c.Named, o.Named)
}

// Purity counts what entered the state from outside since the function node.
type Purity struct {
	Entropy uint64   `json:"entropy"`
	Clock   uint64   `json:"clock"`
	Socket  uint64   `json:"socket"`  // and regions that were opened or are mapped
	Context bool     `json:"context"` // the function looked at its invocation context
	Reasons []string `json:"reasons,omitempty"`
}

// Pure reports whether nothing but the bound arguments went into the state.
func (p Purity) Pure() bool {
	return p.Entropy == 0 && p.Clock == 0 && p.Socket == 0 && !p.Context
}

// Info is everything about a node but its memory and machine state. It never
// changes; do not modify its slices.
type Info struct {
	// ID is the hex SHA-256 over parent id, kind, key, image digest, CPU features,
	// ABI version, machine state, and number and content of the guest pages that
	// differ from the parent's. How the pages are stored is not part of it.
	ID          string `json:"id"`
	Parent      string `json:"parent,omitempty"` // empty for an image node
	Kind        Kind   `json:"kind"`
	Key         Key    `json:"key"`
	ImageDigest string `json:"image_digest"`
	// Root is the Merkle root over the SHA-256 values of the guest pages that
	// differ from the parent's, in ascending order.
	Root        string      `json:"root"`
	CPUFeatures CPUFeatures `json:"cpu_features"`
	ABIVersion  uint32      `json:"abi_version"`
	Created     time.Time   `json:"created"`
	GuestPages  uint64      `json:"guest_pages"`
	DeltaPages  uint64      `json:"delta_pages"`  // guest pages that differ from the parent's
	DeltaBytes  uint64      `json:"delta_bytes"`  // bytes of these as whole pages, after removal of zero pages and duplicates; 0 for an image node
	SharedPages uint64      `json:"shared_pages"` // non-zero guest pages that an ancestor stores
	// CaptureCost is how long the capture took, SavedTime how much of an
	// invocation the node makes unnecessary.
	CaptureCost time.Duration `json:"capture_cost_ns"`
	SavedTime   time.Duration `json:"saved_time_ns"`
	Purity      Purity        `json:"purity"`
}

func ValidDigest(s string) bool {
	return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == ""
}

// Validate checks what both a capture and a decoder must not let in.
func (i *Info) Validate() error {
	switch {
	case !slices.Contains(kinds, i.Kind):
		return fmt.Errorf("kind %q is unknown", i.Kind)
	case (i.Kind == KindImage) != (i.Parent == ""):
		return fmt.Errorf("kind %s with parent %q: image nodes, and only they, have none", i.Kind, i.Parent)
	case i.Parent != "" && !ValidDigest(i.Parent):
		return fmt.Errorf("parent %q is not a node id", i.Parent)
	case !ValidDigest(i.ImageDigest):
		return fmt.Errorf("image digest %q is not 64 hex digits", i.ImageDigest)
	case !ValidDigest(i.Root):
		return fmt.Errorf("root %q is not 64 hex digits", i.Root)
	case i.CaptureCost < 0 || i.SavedTime < 0:
		return fmt.Errorf("capture cost %v or saved time %v is negative", i.CaptureCost, i.SavedTime)
	case i.GuestPages > MaxGuestPages || i.DeltaPages > i.GuestPages || i.SharedPages > i.GuestPages:
		return fmt.Errorf("%d delta pages and %d shared pages of %d guest pages, at most %d", i.DeltaPages, i.SharedPages, i.GuestPages, uint64(MaxGuestPages))
	}
	if err := validTexts("CPU feature", append([]string{i.CPUFeatures.Opaque}, i.CPUFeatures.Named...)); err != nil {
		return err
	}
	if err := validTexts("purity reason", i.Purity.Reasons); err != nil {
		return err
	}
	return i.Key.validate()
}

func (k *Key) validate() error {
	if err := validTexts("key", append([]string{k.Function, k.Handler, k.CodeDigest, k.NextKey, k.Runtime, k.Contract}, k.Imports...)); err != nil {
		return err
	}
	for _, a := range k.Args {
		if err := validTexts("argument", []string{a.Key, a.Preview}); err != nil {
			return err
		}
		if !ValidDigest(a.Digest) {
			return fmt.Errorf("digest %q of argument %q is not 64 hex digits", a.Digest, a.Key)
		}
		if len(a.Preview) > maxPreviewBytes {
			return fmt.Errorf("preview of argument %q has %d bytes, at most %d", a.Key, len(a.Preview), maxPreviewBytes)
		}
	}
	return nil
}

// validTexts insists on UTF-8, because JSON would silently change anything else.
func validTexts(what string, texts []string) error {
	for _, s := range texts {
		if len(s) > maxKeyBytes {
			return fmt.Errorf("%s has %d bytes, at most %d", what, len(s), maxKeyBytes)
		}
		if !utf8.ValidString(s) {
			return fmt.Errorf("%s %q is not UTF-8", what, s)
		}
	}
	return nil
}
