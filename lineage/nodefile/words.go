package nodefile

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// The words of differences are coded before they are compressed: a word is zero or one
// of the last 31 words in its upper bytes, and has the others as they are. Pointers into
// one arena, type pointers and small counts then take two to four bytes, a compressor
// finds the rest in half of the time, and reading the code has no branch that depends on
// the content (docs/decisions/pages.md, "How are differences compressed?").
//
//	heads     a byte for each word: from its lowest bits 3 for how many bytes follow,
//	          0 to 6, or 8 for 7; then 5 for where the others are from, 0 for zero, or
//	          how many words before
//	literals  these bytes, the lowest ones first
const recentWords = 32

var (
	literalBytes = [8]uint8{0, 1, 2, 3, 4, 5, 6, 8}
	literalMasks = [8]uint64{0, 1<<8 - 1, 1<<16 - 1, 1<<24 - 1, 1<<32 - 1, 1<<40 - 1, 1<<48 - 1, 1<<64 - 1}
)

// appendCoded appends the code of words to b.
func appendCoded(b, words []byte) []byte {
	var recent [recentWords]uint64
	literals := make([]byte, 0, len(words)/2)
	for i := uint(0); len(words) > 0; i, words = i+1, words[wordBytes:] {
		word := binary.LittleEndian.Uint64(words)
		size, from := min((bits.Len64(word)+7)/8, 7), uint(0)
		for back := uint(1); back <= min(i, recentWords-1); back++ {
			if n := (bits.Len64(word^recent[(i-back)%recentWords]) + 7) / 8; n < size {
				size, from = n, back
			}
		}
		recent[i%recentWords] = word
		b = append(b, byte(from<<3)|byte(size))
		literals = append(literals, words[:literalBytes[size]]...)
	}
	return append(b, literals...)
}

// decodeWords reads the words of so many heads. out has room for them. Behind literals
// there must be a word of anything.
func decodeWords(out, heads, literals []byte) error {
	var recent [recentWords]uint64
	for i, head := range heads {
		if len(literals) < wordBytes {
			return fmt.Errorf("the bytes of the words end within word %d of %d: %w", i, len(heads), ErrFormat)
		}
		word := recent[(uint(i)-uint(head>>3))%recentWords]
		if head < 8 {
			word = 0
		}
		mask := literalMasks[head&7]
		word = word&^mask | binary.LittleEndian.Uint64(literals)&mask
		literals = literals[literalBytes[head&7]:]
		recent[uint(i)%recentWords] = word
		binary.LittleEndian.PutUint64(out, word)
		out = out[wordBytes:]
	}
	if len(literals) != wordBytes {
		return fmt.Errorf("%d bytes after the words: %w", len(literals)-wordBytes, ErrFormat)
	}
	return nil
}
