package debian

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// Format of /etc/ld.so.cache since glibc 2.2 (sysdeps/generic/dl-cache.h): a header
// with the number of entries, the entries, and the strings; offsets count from the
// header. Caches of older programs begin with a table of another kind, behind which
// it lies at the next multiple of 8.
const (
	cacheMagic     = "glibc-ld.so.cache1.1"
	cacheOldMagic  = "ld.so-1.7.0\x00"
	cacheHeader    = 48
	cacheEntry     = 24
	cacheOldHeader = 16
	cacheOldEntry  = 12
	// cacheX8664 are the flags of a library for x86-64: FLAG_ELF_LIBC6 and
	// FLAG_X8664_LIB64.
	cacheX8664 = 0x0303
	// maxCache bounds the entries that are read.
	maxCache = 1 << 20
)

// cachedLibrary is an entry of the loader's cache.
type cachedLibrary struct {
	path   string
	forCPU bool // for particular CPUs: the loader takes it only where it fits
}

// parseLoaderCache returns the x86-64 libraries of a loader cache by soname, in the
// cache's order.
func parseLoaderCache(b []byte) (map[string][]cachedLibrary, error) {
	if bytes.HasPrefix(b, []byte(cacheOldMagic)) {
		if len(b) < cacheOldHeader {
			return nil, errors.New("loader cache is truncated")
		}
		n := uint64(binary.LittleEndian.Uint32(b[12:]))
		skip := (cacheOldHeader + n*cacheOldEntry + 7) &^ 7
		if skip > uint64(len(b)) {
			return nil, fmt.Errorf("loader cache: %d entries of the old format do not fit into %d bytes", n, len(b))
		}
		b = b[skip:]
	}
	if len(b) < cacheHeader || string(b[:len(cacheMagic)]) != cacheMagic {
		return nil, fmt.Errorf("loader cache: want %q at its start", cacheMagic)
	}
	n := uint64(binary.LittleEndian.Uint32(b[20:]))
	if n > maxCache || cacheHeader+n*cacheEntry > uint64(len(b)) {
		return nil, fmt.Errorf("loader cache: %d entries do not fit into %d bytes", n, len(b))
	}
	libs := map[string][]cachedLibrary{}
	for i := range n {
		e := b[cacheHeader+i*cacheEntry:]
		if binary.LittleEndian.Uint32(e)&0xffff != cacheX8664 {
			continue
		}
		soname, err := cacheString(b, binary.LittleEndian.Uint32(e[4:]))
		if err != nil {
			return nil, err
		}
		path, err := cacheString(b, binary.LittleEndian.Uint32(e[8:]))
		if err != nil {
			return nil, err
		}
		libs[soname] = append(libs[soname], cachedLibrary{path, binary.LittleEndian.Uint64(e[16:]) != 0})
	}
	return libs, nil
}

func cacheString(b []byte, off uint32) (string, error) {
	if uint64(off) >= uint64(len(b)) {
		return "", fmt.Errorf("loader cache: string at %#x lies behind its %#x bytes", off, len(b))
	}
	text, _, ok := bytes.Cut(b[off:min(uint64(off)+maxSymlink+1, uint64(len(b)))], []byte{0})
	if !ok {
		return "", fmt.Errorf("loader cache: the string at %#x does not end", off)
	}
	return string(text), nil
}
