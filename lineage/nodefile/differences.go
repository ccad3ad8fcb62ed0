package nodefile

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"

	"github.com/klauspost/compress/s2"
)

// Most pages of a small delta differ from the parent's page in a few words:
// reference counts, list heads, a new object. The form "differences" stores
// these words only. What differs is kept as its new value: it compresses to two
// thirds of what its XOR with the old one does, because a small object's fields
// repeat and their XOR with garbage does not (docs/decisions/pages.md, "Why are changed
// words stored, not their XOR?").
//
// The data section is the unpacked length u32, the state length u32, both in bytes, the
// number of words u32, and one S2 block of
//
//	masks  for the machine state, then for each data page: a bit for each word, the
//	       lowest first, that is set where the word differs; filled up with zeroes
//	       to u64s
//	words  those, in order, coded as words.go says
//
// The machine state, filled up with zeroes to whole words, is compared with the
// parent's, each data page with the parent's page at its first guest page. Version 2
// had another form, see differences_v2.go.
const (
	wordBytes     = 8
	pageWords     = PageSize / wordBytes
	pageMaskBytes = pageWords / 8

	diffsHeaderBytes = 12

	// maxDeltaBytes bounds the raw and the compressed data of a node in this form.
	maxDeltaBytes = 128 << 20
	// MaxDeltaPages bounds its pages, so that even pages in which everything
	// differs stay below that.
	MaxDeltaPages = 16 << 10
)

// maskBytes is what the mask of so many bytes takes.
func maskBytes(n int) int { return (n + 64*wordBytes - 1) / (64 * wordBytes) * 8 }

// DifferenceEncoder collects records.
type DifferenceEncoder struct {
	stateBytes   int
	masks, words []byte
}

// AddState must come first.
func (e *DifferenceEncoder) AddState(old, state []byte) {
	e.stateBytes = len(state)
	e.Add(padWords(old, len(state)), padWords(state, len(state)))
}

// padWords returns b, cut or filled up with zeroes to the words that n bytes take.
func padWords(b []byte, n int) []byte {
	out := make([]byte, (n+wordBytes-1)/wordBytes*wordBytes)
	copy(out, b[:min(n, len(b))])
	return out
}

// Add takes two slices of the same whole number of words.
func (e *DifferenceEncoder) Add(old, now []byte) {
	e.masks, e.words = AppendDifferences(e.masks, e.words, old, now)
}

// AppendDifferences appends, of two slices of the same whole number of words, a bit for each
// word to masks, and those that differ to words, as they are now.
func AppendDifferences(masks, words, old, now []byte) (_, _ []byte) {
	mask := uint64(0)
	for at := 0; at < len(now); at += wordBytes {
		if word := now[at : at+wordBytes]; binary.LittleEndian.Uint64(word) != binary.LittleEndian.Uint64(old[at:]) {
			mask |= 1 << (at / wordBytes % 64)
			words = append(words, word...)
		}
		if end := at + wordBytes; end%(64*wordBytes) == 0 || end == len(now) {
			masks = binary.LittleEndian.AppendUint64(masks, mask)
			mask = 0
		}
	}
	return masks, words
}

// ApplyDifferences brings a page from the old content to the new one by the first of masks
// and words, and returns the others.
func ApplyDifferences(page, masks, words []byte) (_, _ []byte) {
	own := masks[:pageMaskBytes]
	applyWords(page, own, words)
	n := 0
	for ; len(own) > 0; own = own[8:] {
		n += bits.OnesCount64(binary.LittleEndian.Uint64(own))
	}
	return masks[pageMaskBytes:], words[n*wordBytes:]
}

// encode returns the data section.
func (e *DifferenceEncoder) encode() ([]byte, error) {
	raw := appendCoded(slices.Clone(e.masks), e.words)
	if len(raw) > maxDeltaBytes {
		return nil, fmt.Errorf("differences take %d bytes, at most %d: %w", len(raw), maxDeltaBytes, ErrInvalid)
	}
	return packDifferences(raw, uint32(e.stateBytes), uint32(len(e.words)/wordBytes)), nil
}

func packDifferences(raw []byte, stateBytes, words uint32) []byte {
	var head [diffsHeaderBytes]byte
	binary.LittleEndian.PutUint32(head[0:], uint32(len(raw)))
	binary.LittleEndian.PutUint32(head[4:], stateBytes)
	binary.LittleEndian.PutUint32(head[8:], words)
	return append(head[:], s2.EncodeBetter(nil, raw)...)
}

// Differences are a data section. It is hostile: reading it takes no more memory than
// it says, and it may not say more than its node can need.
type Differences struct {
	version uint32
	pages   int
	Length  int    // unpacked
	packed  []byte // until it is unpacked
	Keeps   int    // bytes of the room that unpack takes; 0: not known

	stateBytes   int
	masks, words []byte
	starts       []uint32 // where each page's words begin, in words
}

// ParseDifferences reads the beginning of the data section of a node of pages data
// pages.
func ParseDifferences(version uint32, data []byte, pages uint64) (*Differences, error) {
	if pages > MaxDeltaPages {
		return nil, fmt.Errorf("differences of %d pages, at most %d: %w", pages, uint64(MaxDeltaPages), ErrFormat)
	}
	d := &Differences{version: version, pages: int(pages)}
	if version == VersionPages {
		return d, d.parseRuns(data)
	}
	if len(data) < diffsHeaderBytes {
		return nil, fmt.Errorf("differences of %d bytes: %w", len(data), ErrFormat)
	}
	le := binary.LittleEndian
	length, state, words := uint64(le.Uint32(data)), uint64(le.Uint32(data[4:])), uint64(le.Uint32(data[8:]))
	d.packed = data[diffsHeaderBytes:]
	n, err := s2.DecodedLen(d.packed)
	if err != nil || uint64(n) != length {
		return nil, fmt.Errorf("differences are no S2 block of %d bytes (%d, %v): %w", length, n, err, ErrFormat)
	}
	if state > MaxStateBytes || words > pages*pageWords+(state+wordBytes-1)/wordBytes {
		return nil, fmt.Errorf("differences of %d pages with %d bytes of machine state and %d words: %w", pages, state, words, ErrFormat)
	}
	d.Length, d.stateBytes = int(length), int(state)
	if least := d.maskBytes() + int(words); d.Length < least || d.Length > min(least+int(words)*wordBytes, maxDeltaBytes) {
		return nil, fmt.Errorf("differences with %d bytes of masks and %d words are %d bytes unpacked: %w", d.maskBytes(), words, length, ErrFormat)
	}
	d.Keeps = d.maskBytes() + int(words)*wordBytes
	return d, nil
}

// maskBytes is what all masks take.
func (d *Differences) maskBytes() int { return maskBytes(d.stateBytes) + d.pages*pageMaskBytes }

// unpacked are buffers for what differences unpack to.
var unpacked = make(Buffers, KeptBuffers)

// maxKeptRaw bounds a buffer that is kept.
const maxKeptRaw = 1 << 20

// Unpack unpacks them into room, in which they lie from then on, or into memory of
// their own if that is too small.
func (d *Differences) Unpack(room []byte) error {
	buf := unpacked.Get()
	if cap(*buf) < d.Length+wordBytes {
		*buf = make([]byte, d.Length+wordBytes)
	}
	if cap(*buf) <= maxKeptRaw {
		defer unpacked.Put(buf)
	}
	raw := (*buf)[:d.Length+wordBytes]
	if d.version == VersionPages {
		if err := d.unpackRuns(raw); err != nil {
			return err
		}
		return d.count()
	}
	if len(room) < d.Keeps {
		room = make([]byte, d.Keeps)
	}
	n := d.maskBytes()
	d.masks, d.words = room[:n:n], room[n:d.Keeps:d.Keeps]
	words := len(d.words) / wordBytes
	if _, err := s2.Decode(raw[:d.Length], d.packed); err != nil {
		return fmt.Errorf("unpack differences of %d bytes: %w: %w", d.Length, err, ErrFormat)
	}
	copy(d.masks, raw)
	if err := decodeWords(d.words, raw[n:n+words], raw[n+words:]); err != nil {
		return err
	}
	return d.count()
}

// count finds where each page's words begin, and makes sure that there are as many as
// the masks say, none behind the machine state's end. So applying cannot fail.
func (d *Differences) count() error {
	state := maskBytes(d.stateBytes)
	words, n := (d.stateBytes+wordBytes-1)/wordBytes, 0
	d.starts = make([]uint32, 0, d.pages)
	for at := 0; at < len(d.masks); at += 8 {
		if at >= state && (at-state)%pageMaskBytes == 0 {
			d.starts = append(d.starts, uint32(n))
		}
		mask := binary.LittleEndian.Uint64(d.masks[at:])
		if left := words - at*8; at < state && left < 64 && mask>>left != 0 {
			return fmt.Errorf("words behind a machine state of %d bytes: %w", d.stateBytes, ErrFormat)
		}
		n += bits.OnesCount64(mask)
	}
	if len(d.words) != n*wordBytes {
		return fmt.Errorf("differences have %d bytes for %d words: %w", len(d.words), n, ErrFormat)
	}
	return nil
}

// State returns the machine state.
func (d *Differences) State(old []byte) []byte {
	out := padWords(old, d.stateBytes)
	applyWords(out, d.masks[:maskBytes(d.stateBytes)], d.words)
	return out[:d.stateBytes:d.stateBytes]
}

// Apply brings a data page from the old content to the new one.
func (d *Differences) Apply(content []byte, page uint64) {
	at := maskBytes(d.stateBytes) + int(page)*pageMaskBytes
	applyWords(content, d.masks[at:at+pageMaskBytes], d.words[d.starts[page]*wordBytes:])
}

// applyWords puts the words of one record in place. It is the inner loop of deploying a
// cold node; most words come in runs.
func applyWords(content, mask, words []byte) {
	for ; len(mask) > 0; mask = mask[8:] {
		m := binary.LittleEndian.Uint64(mask)
		for m != 0 {
			at := bits.TrailingZeros64(m)
			n := bits.TrailingZeros64(^(m >> at))
			if to := content[at*wordBytes:]; n == 1 {
				*(*[wordBytes]byte)(to) = [wordBytes]byte(words)
			} else {
				copy(to, words[:n*wordBytes])
			}
			words = words[n*wordBytes:]
			m &= ^uint64(0) << (at + n)
		}
		content = content[min(64*wordBytes, len(content)):]
	}
}
