package lineage

import (
	"encoding/binary"
	"fmt"

	"github.com/klauspost/compress/zstd"
)

// Most pages of a small delta differ from the parent's page in a few words:
// reference counts, list heads, a new object. The form "differences" stores
// these words only. What differs is kept as its new value: it compresses to two
// thirds of what its XOR with the old one does, because a small object's fields
// repeat and their XOR with garbage does not (RATIONALE.md, "Why are changed
// words stored, not their XOR?").
//
// The data section is the raw length u32 and one zstd frame of
//
//	state length   uvarint, bytes
//	control length uvarint, bytes
//	control        for the machine state, then for each data page: runs of
//	               words, each the number of equal words before it + 1 and its
//	               count, as uvarints; 0 ends the record
//	words          those of all runs, 8 bytes each
//
// The machine state, filled up with zeroes to whole words, is compared with the
// parent's, each data page with the parent's page at its first guest page.
const (
	wordBytes = 8
	pageWords = PageSize / wordBytes

	// maxDeltaBytes bounds the raw and the compressed data of a node in this form.
	maxDeltaBytes = 128 << 20
	// maxDeltaPages bounds its pages, so that even pages in which everything
	// differs stay below that.
	maxDeltaPages = 16 << 10
)

// The codecs are safe for concurrent use of EncodeAll and DecodeAll. Small nodes are
// loaded while somebody waits, so their frames are made for that: better matches, and
// literals as they are. That unpacks in 70 % of the time and takes 8 to 10 % more
// (RATIONALE.md, "How are differences compressed?").
var (
	deltaCompressor      = newZstdEncoder(zstd.WithEncoderLevel(zstd.SpeedDefault))
	smallDeltaCompressor = newZstdEncoder(zstd.WithEncoderLevel(zstd.SpeedBetterCompression), zstd.WithNoEntropyCompression(true))
	deltaDecompressor    = newZstdDecoder()
)

// smallDeltaBytes bounds what that is done for.
const smallDeltaBytes = 128 << 10

func newZstdEncoder(o ...zstd.EOption) *zstd.Encoder {
	e, err := zstd.NewWriter(nil, append(o, zstd.WithEncoderCRC(false), zstd.WithSingleSegment(true))...)
	if err != nil {
		panic(fmt.Sprintf("lineage: zstd encoder: %v", err)) // options are constant
	}
	return e
}

func newZstdDecoder() *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(maxDeltaBytes), zstd.WithDecoderConcurrency(0))
	if err != nil {
		panic(fmt.Sprintf("lineage: zstd decoder: %v", err))
	}
	return d
}

// deltaEncoder collects records.
type deltaEncoder struct {
	stateBytes     int
	control, words []byte
}

// addState must come first.
func (e *deltaEncoder) addState(old, state []byte) {
	e.stateBytes = len(state)
	e.add(padWords(old, len(state)), padWords(state, len(state)))
}

// padWords returns b, cut or filled up with zeroes to the words that n bytes take.
func padWords(b []byte, n int) []byte {
	out := make([]byte, (n+wordBytes-1)/wordBytes*wordBytes)
	copy(out, b[:min(n, len(b))])
	return out
}

// add takes two slices of the same whole number of words.
func (e *deltaEncoder) add(old, now []byte) {
	equal := uint64(0)
	for at := 0; at < len(now); {
		if sameWord(old, now, at) {
			equal++
			at += wordBytes
			continue
		}
		end := at + wordBytes
		for end < len(now) && !sameWord(old, now, end) {
			end += wordBytes
		}
		e.control = binary.AppendUvarint(e.control, equal+1)
		e.control = binary.AppendUvarint(e.control, uint64(end-at)/wordBytes)
		e.words = append(e.words, now[at:end]...)
		equal, at = 0, end
	}
	e.control = append(e.control, 0)
}

func sameWord(a, b []byte, at int) bool {
	return binary.LittleEndian.Uint64(a[at:]) == binary.LittleEndian.Uint64(b[at:])
}

// encode returns the data section.
func (e *deltaEncoder) encode() ([]byte, error) {
	raw := make([]byte, 0, len(e.control)+len(e.words)+2*binary.MaxVarintLen64)
	raw = binary.AppendUvarint(raw, uint64(e.stateBytes))
	raw = binary.AppendUvarint(raw, uint64(len(e.control)))
	raw = append(raw, e.control...)
	raw = append(raw, e.words...)
	if len(raw) > maxDeltaBytes {
		return nil, fmt.Errorf("differences take %d bytes, at most %d: %w", len(raw), maxDeltaBytes, ErrInvalid)
	}
	out := binary.LittleEndian.AppendUint32(make([]byte, 0, len(raw)/2), uint32(len(raw)))
	if len(raw) <= smallDeltaBytes {
		return smallDeltaCompressor.EncodeAll(raw, out), nil
	}
	return deltaCompressor.EncodeAll(raw, out), nil
}

// deltaDecoder gives the records back, in their order.
type deltaDecoder struct {
	stateBytes int
	control    varints
	words      []byte
	raw        *[]byte // what both lie in, from rawBuffers
}

// rawBuffers are for what small deltas unpack to.
var rawBuffers = make(buffers, keptBuffers)

// maxKeptRaw bounds a buffer that is kept.
const maxKeptRaw = 1 << 20

// release gives the decoder's memory back; the decoder is of no more use. It need not
// be called.
func (d *deltaDecoder) release() {
	if cap(*d.raw) <= maxKeptRaw {
		rawBuffers.put(d.raw)
	}
	*d = deltaDecoder{}
}

// newDeltaDecoder unpacks a data section, which is hostile: it takes no more
// memory than the section says, and the section may not say more than its node
// of pages pages can need.
func newDeltaDecoder(data []byte, pages uint64) (*deltaDecoder, error) {
	if len(data) < 4 {
		return nil, fmt.Errorf("differences of %d bytes: %w", len(data), ErrFormat)
	}
	length, frame := uint64(binary.LittleEndian.Uint32(data)), data[4:]
	// A page costs at most its words and, for every other word, two bytes of control.
	const perPage = PageSize + pageWords/2*4 + 1
	if most := pages*perPage + 2*maxStateBytes + 32; pages > maxDeltaPages || length > min(most, maxDeltaBytes) {
		return nil, fmt.Errorf("differences of %d pages are %d bytes unpacked, at most %d pages and %d bytes: %w",
			pages, length, uint64(maxDeltaPages), min(most, maxDeltaBytes), ErrFormat)
	}
	var h zstd.Header
	if err := h.Decode(frame); err != nil || h.Skippable || !h.HasFCS || h.FrameContentSize != length {
		return nil, fmt.Errorf("differences are no zstd frame of %d bytes (%d, %v): %w", length, h.FrameContentSize, err, ErrFormat)
	}
	buf := rawBuffers.get()
	if uint64(cap(*buf)) < length {
		*buf = make([]byte, 0, length)
	}
	raw, err := deltaDecompressor.DecodeAll(frame, (*buf)[:0])
	if err != nil || uint64(len(raw)) != length {
		return nil, fmt.Errorf("unpack differences: %d of %d bytes: %v: %w", len(raw), length, err, ErrFormat)
	}
	v := varints{b: raw}
	state, control := v.next("state length"), v.next("control length")
	if v.err != nil {
		return nil, v.err
	}
	if state > maxStateBytes || control > uint64(len(v.b)) {
		return nil, fmt.Errorf("differences with %d bytes of machine state and %d of control: %w", state, control, ErrFormat)
	}
	return &deltaDecoder{stateBytes: int(state), control: varints{b: v.b[:control]}, words: v.b[control:], raw: buf}, nil
}

// state returns the machine state; the first record.
func (d *deltaDecoder) state(old []byte) ([]byte, error) {
	out := padWords(old, d.stateBytes)
	if err := d.apply(out); err != nil {
		return nil, fmt.Errorf("machine state: %w", err)
	}
	return out[:d.stateBytes:d.stateBytes], nil
}

// apply brings page from the old content to the new one. Numbers of one byte, which
// nearly all are, are read here: this is the inner loop of loading.
func (d *deltaDecoder) apply(page []byte) error {
	total := uint64(len(page)) / wordBytes
	for at := uint64(0); ; {
		var skip, count uint64
		if b := d.control.b; len(b) > 2 && b[0]|b[1] < 0x80 && b[0] != 0 {
			skip, count = uint64(b[0]), uint64(b[1])
			d.control.b = b[2:]
		} else {
			if skip = d.control.next("differences"); skip == 0 {
				return d.control.err
			}
			count = d.control.next("differences")
			if d.control.err != nil {
				return d.control.err
			}
		}
		if skip-1 > total-at || count == 0 || count > total-at-(skip-1) || count > uint64(len(d.words))/wordBytes {
			return fmt.Errorf("run of %d words at %d+%d of %d, %d are left: %w", count, at, skip-1, total, len(d.words)/wordBytes, ErrFormat)
		}
		at += skip - 1
		if count == 1 {
			*(*[wordBytes]byte)(page[at*wordBytes:]) = [wordBytes]byte(d.words)
		} else {
			copy(page[at*wordBytes:], d.words[:count*wordBytes])
		}
		d.words = d.words[count*wordBytes:]
		at += count
	}
}

// end reports what is left over.
func (d *deltaDecoder) end() error {
	if len(d.control.b) != 0 || len(d.words) != 0 {
		return fmt.Errorf("%d bytes after the differences: %w", len(d.control.b)+len(d.words), ErrFormat)
	}
	return nil
}
