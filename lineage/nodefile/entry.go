package nodefile

import (
	"encoding/binary"
	"fmt"
	"time"
)

// Metadata in the cache of the catalogue, because decoding a node's JSON takes
// longer than all the rest of opening a store. Numbers are uvarints; texts and lists
// are preceded by their length. The order is that of Info, without the id; a time is
// seconds, zigzag, and nanoseconds.

// texts cuts strings out of one, so that a node's texts are one allocation.
type texts struct {
	varints
	all  string // of which v.b is what is left
	size int
}

func (t *texts) text(what string) string {
	n := t.next(what)
	if n > uint64(len(t.b)) {
		if t.err == nil {
			t.err = fmt.Errorf("%s has %d bytes, %d are left: %w", what, n, len(t.b), ErrFormat)
		}
		t.b = nil
		return ""
	}
	at := t.size - len(t.b)
	t.b = t.b[n:]
	return t.all[at : at+int(n)]
}

// count is a length of a list whose items take a byte at least.
func (t *texts) count(what string) int {
	n := t.next(what)
	if n > uint64(len(t.b)) {
		if t.err == nil {
			t.err = fmt.Errorf("%d of %s in %d bytes: %w", n, what, len(t.b), ErrFormat)
		}
		t.b = nil
		return 0
	}
	return int(n)
}

func (t *texts) list(what string) []string {
	n := t.count(what)
	if n == 0 {
		return nil
	}
	out := make([]string, n)
	for i := range out {
		out[i] = t.text(what)
	}
	return out
}

const (
	entryInherits = 1 << iota
	entryLazy
	entryContext
	entryRuntime  // the key's runtime is at the end
	entryContract // and then its contract
)

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendTexts(b []byte, list []string) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, s := range list {
		b = appendText(b, s)
	}
	return b
}

func zigzag(n int64) uint64   { return uint64(n<<1 ^ n>>63) }
func unzigzag(n uint64) int64 { return int64(n>>1) ^ -int64(n&1) }

// EncodeEntry writes metadata as it is before inherit; nil if a cache cannot hold it.
func EncodeEntry(m *Metadata) []byte {
	if m.Created.Location() != time.UTC {
		return nil // it would come back in another zone
	}
	b := make([]byte, 0, 512)
	flags := uint64(0)
	for _, f := range []struct {
		set bool
		bit uint64
	}{{m.InheritCPU, entryInherits}, {m.Key.Lazy, entryLazy}, {m.Purity.Context, entryContext}, {m.Key.Runtime != "", entryRuntime}, {m.Key.Contract != "", entryContract}} {
		if f.set {
			flags |= f.bit
		}
	}
	b = binary.AppendUvarint(b, flags)
	b = appendText(b, m.Parent)
	b = appendText(b, string(m.Kind))
	for _, s := range []string{m.Key.Function, m.Key.Handler, m.Key.CodeDigest} {
		b = appendText(b, s)
	}
	b = appendTexts(b, m.Key.Imports)
	b = binary.AppendUvarint(b, uint64(len(m.Key.Args)))
	for _, a := range m.Key.Args {
		b = appendText(appendText(appendText(b, a.Key), a.Digest), a.Preview)
	}
	for _, s := range []string{m.Key.NextKey, m.ImageDigest, m.Root, m.CPUFeatures.Opaque} {
		b = appendText(b, s)
	}
	b = appendTexts(b, m.CPUFeatures.Named)
	for _, n := range []uint64{
		uint64(m.ABIVersion), zigzag(m.Created.Unix()), uint64(m.Created.Nanosecond()), m.GuestPages, m.DeltaPages, m.DeltaBytes, m.SharedPages,
		uint64(m.CaptureCost), uint64(m.SavedTime), m.Purity.Entropy, m.Purity.Clock, m.Purity.Socket,
	} {
		b = binary.AppendUvarint(b, n)
	}
	b = appendTexts(b, m.Purity.Reasons)
	if m.Key.Runtime != "" {
		b = appendText(b, m.Key.Runtime)
	}
	if m.Key.Contract != "" {
		b = appendText(b, m.Key.Contract)
	}
	return b
}

// DecodeEntry reads what EncodeEntry writes, and checks it as DecodeMetadata does.
func DecodeEntry(id string, b []byte) (*Metadata, error) {
	t := texts{varints: varints{b: b}, all: string(b), size: len(b)}
	m := &Metadata{}
	m.ID = id
	flags := t.next("flags")
	m.InheritCPU, m.Key.Lazy, m.Purity.Context = flags&entryInherits != 0, flags&entryLazy != 0, flags&entryContext != 0
	m.Parent, m.Kind = t.text("parent"), Kind(t.text("kind"))
	m.Key.Function, m.Key.Handler, m.Key.CodeDigest = t.text("function"), t.text("handler"), t.text("code digest")
	m.Key.Imports = t.list("imports")
	if n := t.count("arguments"); n > 0 {
		m.Key.Args = make([]Binding, n)
		for i := range m.Key.Args {
			m.Key.Args[i] = Binding{Key: t.text("key"), Digest: t.text("digest"), Preview: t.text("preview")}
		}
	}
	m.Key.NextKey, m.ImageDigest, m.Root = t.text("next key"), t.text("image"), t.text("root")
	m.CPUFeatures.Opaque, m.CPUFeatures.Named = t.text("CPU features"), t.list("CPU features")
	abi := t.next("ABI version")
	m.ABIVersion = uint32(abi)
	seconds, nanos := t.next("created"), t.next("created")
	m.Created = time.Unix(unzigzag(seconds), int64(nanos)).UTC()
	m.GuestPages, m.DeltaPages, m.DeltaBytes, m.SharedPages = t.next("pages"), t.next("pages"), t.next("bytes"), t.next("pages")
	m.CaptureCost, m.SavedTime = time.Duration(t.next("cost")), time.Duration(t.next("saved time"))
	m.Purity.Entropy, m.Purity.Clock, m.Purity.Socket = t.next("purity"), t.next("purity"), t.next("purity")
	m.Purity.Reasons = t.list("reasons")
	if flags&entryRuntime != 0 {
		m.Key.Runtime = t.text("runtime")
	}
	if flags&entryContract != 0 {
		m.Key.Contract = t.text("contract")
	}
	switch {
	case t.err != nil:
		return nil, t.err
	case len(t.b) != 0 || flags >= entryContract<<1 || abi > 1<<32-1 || nanos >= 1e9:
		return nil, fmt.Errorf("cache entry of node %s: flags %#x, ABI version %d, %d ns, %d bytes left: %w", id, flags, abi, nanos, len(t.b), ErrFormat)
	}
	if err := m.Validate(); err != nil {
		return nil, fmt.Errorf("cache entry: %w: %w", err, ErrFormat)
	}
	return m, nil
}
