package source

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"
	"slices"
	"strings"

	"seuss/images"
)

// DigestFiles returns a digest of a tree's paths, metadata and content.
func DigestFiles(files []images.File) (string, error) {
	files = slices.Clone(files)
	slices.SortFunc(files, func(a, b images.File) int { return strings.Compare(a.GuestPath, b.GuestPath) })
	h := sha256.New()
	for i := range files {
		if err := digestFile(h, &files[i]); err != nil {
			return "", err
		}
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil)), nil
}

func digestFile(h hash.Hash, f *images.File) error {
	mode, mtime, size := f.Mode, f.Mtime, int64(len(f.Data))
	var content io.Reader
	if f.HostPath != "" {
		file, err := os.Open(f.HostPath)
		if err != nil {
			return err
		}
		defer file.Close()
		info, err := file.Stat()
		if err != nil {
			return err
		}
		if mode == 0 {
			mode = info.Mode()
		}
		if mtime == 0 {
			mtime = info.ModTime().Unix()
		}
		size, content = info.Size(), io.LimitReader(file, info.Size())
	}
	// Lengths go before what has one, so that no two trees give the same bytes.
	fmt.Fprintf(h, "%d %s %d %s %d %d %d\n", len(f.GuestPath), f.GuestPath, len(f.Symlink), f.Symlink, uint32(mode), mtime, size)
	if f.UID|f.GID != 0 {
		fmt.Fprintf(h, "owner %d %d\n", f.UID, f.GID)
	}
	if content == nil {
		h.Write(f.Data)
		return nil
	}
	n, err := io.Copy(h, content)
	if err == nil && n < size {
		err = fmt.Errorf("%s: it became shorter while it was read", f.HostPath)
	}
	return err
}
