package source

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"seuss/images"
)

// DigestFiles returns a digest of a tree's paths, metadata and content. Files that an index,
// which may be nil, knows are not read. It closes the index.
func DigestFiles(files []images.File, x *Index) (string, error) {
	files = slices.Clone(files)
	slices.SortFunc(files, func(a, b images.File) int { return strings.Compare(a.GuestPath, b.GuestPath) })
	h := sha256.New()
	for i := range files {
		if err := digestFile(h, &files[i], x); err != nil {
			return "", err
		}
	}
	x.Close()
	return "sha256:" + hex.EncodeToString(h.Sum(nil)), nil
}

func digestFile(h hash.Hash, f *images.File, x *Index) error {
	mode, mtime, size := f.Mode, f.Mtime, int64(len(f.Data))
	content := sha256.Sum256(f.Data)
	if f.HostPath != "" {
		info, err := os.Stat(f.HostPath)
		if err != nil {
			return err
		}
		known := false
		if content, known = x.content(info); !known {
			if info, content, err = digestContent(f.HostPath, x); err != nil {
				return err
			}
		}
		if mode == 0 {
			mode = info.Mode()
		}
		if mtime == 0 {
			mtime = info.ModTime().Unix()
		}
		size = info.Size()
	}
	// Lengths go before what has one, so that no two trees give the same bytes.
	fmt.Fprintf(h, "%d %s %d %s %d %d %d\n", len(f.GuestPath), f.GuestPath, len(f.Symlink), f.Symlink, uint32(mode), mtime, size)
	if f.UID|f.GID != 0 {
		fmt.Fprintf(h, "owner %d %d\n", f.UID, f.GID)
	}
	h.Write(content[:]) // never fails, see hash.Hash
	return nil
}

// digestContent reads a file, and notes what it found.
func digestContent(path string, x *Index) (info fs.FileInfo, digest [sha256.Size]byte, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, digest, err
	}
	defer file.Close()
	began := x.now()
	if info, err = file.Stat(); err != nil {
		return nil, digest, err
	}
	h := sha256.New()
	n, err := io.Copy(h, io.LimitReader(file, info.Size()))
	if err == nil && n < info.Size() {
		err = fmt.Errorf("%s: it became shorter while it was read", path)
	}
	if err != nil {
		return nil, digest, err
	}
	h.Sum(digest[:0])
	x.note(file, info, began, digest)
	return info, digest, nil
}
