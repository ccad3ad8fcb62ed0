package guest

import "bytes"

// ZeroPage is a page of zeros, to be read.
var ZeroPage [PageSize]byte

// IsZero reports whether a page, or a part of one, is zeros only.
func IsZero(page []byte) bool { return bytes.Equal(page, ZeroPage[:len(page)]) }
