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

// trimLoaderCache returns a cache with those of its x86-64 libraries for any CPU whose paths
// keep reports, in the same order, by which the loader searches.
func trimLoaderCache(b []byte, keep func(path string) bool) ([]byte, error) {
	b, n, err := openLoaderCache(b)
	if err != nil {
		return nil, err
	}
	type kept struct{ entry, soname, path string }
	var entries []kept
	for i := range n {
		e := b[cacheHeader+i*cacheEntry:][:cacheEntry]
		if binary.LittleEndian.Uint32(e)&0xffff != cacheX8664 || binary.LittleEndian.Uint64(e[16:]) != 0 {
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
		if keep(path) {
			entries = append(entries, kept{string(e), soname, path})
		}
	}
	out := make([]byte, cacheHeader+len(entries)*cacheEntry)
	copy(out, cacheMagic)
	out[28] = b[28] // the byte order; no extension follows
	for i, k := range entries {
		e := out[cacheHeader+i*cacheEntry:]
		copy(e, k.entry)
		binary.LittleEndian.PutUint32(e[4:], uint32(len(out)))
		out = append(append(out, k.soname...), 0)
		e = out[cacheHeader+i*cacheEntry:] // out may lie elsewhere now
		binary.LittleEndian.PutUint32(e[8:], uint32(len(out)))
		out = append(append(out, k.path...), 0)
	}
	binary.LittleEndian.PutUint32(out[20:], uint32(len(entries)))
	binary.LittleEndian.PutUint32(out[24:], uint32(len(out)-cacheHeader-len(entries)*cacheEntry))
	return out, nil
}

// parseLoaderCache returns the x86-64 libraries of a loader cache by soname, in the
// cache's order.
func parseLoaderCache(b []byte) (map[string][]cachedLibrary, error) {
	b, n, err := openLoaderCache(b)
	if err != nil {
		return nil, err
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

// openLoaderCache returns a cache from its header on, and how many entries it has.
func openLoaderCache(b []byte) ([]byte, uint64, error) {
	if bytes.HasPrefix(b, []byte(cacheOldMagic)) {
		if len(b) < cacheOldHeader {
			return nil, 0, errors.New("loader cache is truncated")
		}
		n := uint64(binary.LittleEndian.Uint32(b[12:]))
		skip := (cacheOldHeader + n*cacheOldEntry + 7) &^ 7
		if skip > uint64(len(b)) {
			return nil, 0, fmt.Errorf("loader cache: %d entries of the old format do not fit into %d bytes", n, len(b))
		}
		b = b[skip:]
	}
	if len(b) < cacheHeader || string(b[:len(cacheMagic)]) != cacheMagic {
		return nil, 0, fmt.Errorf("loader cache: want %q at its start", cacheMagic)
	}
	n := uint64(binary.LittleEndian.Uint32(b[20:]))
	if n > maxCache || cacheHeader+n*cacheEntry > uint64(len(b)) {
		return nil, 0, fmt.Errorf("loader cache: %d entries do not fit into %d bytes", n, len(b))
	}
	return b, n, nil
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
