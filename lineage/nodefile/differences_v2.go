package nodefile

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/klauspost/compress/zstd"
)

// Differences as version 2 stored them. The data section is the raw length u32 and one
// zstd frame of
//
//	state length   uvarint, bytes
//	control length uvarint, bytes
//	control        for the machine state, then for each data page: runs of
//	               words, each the number of equal words before it + 1 and its
//	               count, as uvarints; 0 ends the record
//	words          those of all runs, 8 bytes each
//
// Such nodes are read as they are, and written anew by nobody but Reform.
var deltaDecompressor = newZstdDecoder() // safe for concurrent use of DecodeAll

func newZstdDecoder() *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(maxDeltaBytes), zstd.WithDecoderConcurrency(0))
	if err != nil {
		panic(fmt.Sprintf("lineage: zstd decoder: %v", err)) // options are constant
	}
	return d
}

// parseRuns is ParseDifferences of version 2.
func (d *Differences) parseRuns(data []byte) error {
	if len(data) < 4 {
		return fmt.Errorf("differences of %d bytes: %w", len(data), ErrFormat)
	}
	length, frame := uint64(binary.LittleEndian.Uint32(data)), data[4:]
	// A page costs at most its words and, for every other word, two bytes of control.
	const perPage = PageSize + pageWords/2*4 + 1
	if most := uint64(d.pages)*perPage + 2*MaxStateBytes + 32; length > min(most, maxDeltaBytes) {
		return fmt.Errorf("differences of %d pages are %d bytes unpacked, at most %d: %w", d.pages, length, min(most, maxDeltaBytes), ErrFormat)
	}
	var h zstd.Header
	if err := h.Decode(frame); err != nil || h.Skippable || !h.HasFCS || h.FrameContentSize != length {
		return fmt.Errorf("differences are no zstd frame of %d bytes (%d, %v): %w", length, h.FrameContentSize, err, ErrFormat)
	}
	d.Length, d.packed = int(length), frame
	return nil
}

// unpackRuns makes masks of the runs, in memory of their own.
func (d *Differences) unpackRuns(buf []byte) error {
	raw, err := deltaDecompressor.DecodeAll(d.packed, buf[:0])
	if err != nil || len(raw) != d.Length {
		return fmt.Errorf("unpack differences: %d of %d bytes: %v: %w", len(raw), d.Length, err, ErrFormat)
	}
	v := varints{b: raw}
	state, control := v.next("state length"), v.next("control length")
	if v.err != nil {
		return v.err
	}
	if state > MaxStateBytes || control > uint64(len(v.b)) {
		return fmt.Errorf("differences with %d bytes of machine state and %d of control: %w", state, control, ErrFormat)
	}
	d.stateBytes, d.words = int(state), slices.Clone(v.b[control:])
	v.b = v.b[:control]
	d.masks = make([]byte, 0, d.maskBytes())
	if err := d.addMask(&v, uint64(d.stateBytes+wordBytes-1)/wordBytes); err != nil {
		return fmt.Errorf("machine state: %w", err)
	}
	for page := range d.pages {
		if err := d.addMask(&v, pageWords); err != nil {
			return fmt.Errorf("data page %d: %w", page, err)
		}
	}
	if len(v.b) != 0 {
		return fmt.Errorf("%d bytes after the differences: %w", len(v.b), ErrFormat)
	}
	return nil
}

// addMask makes a mask of the next record, of so many words.
func (d *Differences) addMask(v *varints, words uint64) error {
	mask := d.masks[len(d.masks) : len(d.masks)+maskBytes(int(words)*wordBytes)]
	d.masks = d.masks[:len(d.masks)+len(mask)]
	for at := uint64(0); ; {
		skip := v.next("differences")
		if skip == 0 {
			return v.err
		}
		count := v.next("differences")
		if v.err != nil {
			return v.err
		}
		if skip-1 > words-at || count == 0 || count > words-at-(skip-1) {
			return fmt.Errorf("run of %d words at %d+%d of %d: %w", count, at, skip-1, words, ErrFormat)
		}
		at += skip - 1
		for range count {
			group := mask[at/64*8:]
			binary.LittleEndian.PutUint64(group, binary.LittleEndian.Uint64(group)|1<<(at%64))
			at++
		}
	}
}
