package imagefile

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"

	"seuss/guest"
	"seuss/lineage/nodefile"
)

// Padding is how many bytes a file of so many lacks to whole pages.
func Padding(bytes int64) int64 { return -bytes & (guest.PageSize - 1) }

// StreamBytes is how long the stream of these files is.
func StreamBytes(paths []string) (int64, error) {
	total := int64(0)
	for _, path := range paths {
		st, err := os.Stat(path)
		if err != nil {
			return 0, err
		}
		total += st.Size() + Padding(st.Size())
	}
	return total, nil
}

// WriteStream writes the files of an image as it travels.
func WriteStream(w io.Writer, paths []string) error {
	for _, path := range paths {
		if err := appendFile(w, path); err != nil {
			return err
		}
	}
	return nil
}

func appendFile(w io.Writer, path string) error {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	n, err := io.Copy(w, in)
	if err == nil {
		_, err = w.Write(make([]byte, Padding(n)))
	}
	return err
}

// OwnBytes reads the beginning of a stream of size bytes and says how many of them are the
// image's own file; all returns the stream with what was read.
func OwnBytes(r io.Reader, size int64) (all io.Reader, own int64, err error) {
	b := make([]byte, min(size, guest.ImageHeaderSize))
	if n, err := io.ReadFull(r, b); err != nil {
		return nil, 0, fmt.Errorf("got %d of %d bytes: %w: %w", n, size, nodefile.ErrLength, err)
	}
	all = io.MultiReader(bytes.NewReader(b), r)
	var h guest.ImageHeader
	if len(b) < guest.ImageHeaderSize {
		return all, size, nil
	}
	if _, err := binary.Decode(b, binary.LittleEndian, &h); err != nil {
		return nil, 0, err
	}
	if layered(&h) && h.OwnBytes < uint64(size) {
		return all, int64(h.OwnBytes), nil
	}
	return all, size, nil
}
