package logs

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A segment is a file, NUMBER.log (16 hex digits), of segmentMagic and frames: the length
// of a payload (4 bytes, little-endian), its CRC-32C (the same), and the payload, an Entry
// as JSON. It ends where a frame is not whole or right: what comes after was being
// written when the service or the machine ended.
const (
	segmentMagic  = "seusslg1"
	frameHeader   = 8
	segmentSuffix = ".log"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errEnd: no whole and right frame follows.
var errEnd = errors.New("the segment ends")

func appendFrame(b, payload []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(payload)))
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(payload, castagnoli))
	return append(b, payload...)
}

// decodeFrame takes the first entry off b and returns what its frame takes. The error is
// errEnd where there is none.
func decodeFrame(b []byte) (e Entry, n int, err error) {
	if len(b) < frameHeader {
		return e, 0, errEnd
	}
	size := binary.LittleEndian.Uint32(b)
	if size > maxSegment || uint64(len(b)) < frameHeader+uint64(size) {
		return e, 0, errEnd
	}
	payload := b[frameHeader : frameHeader+size]
	if crc32.Checksum(payload, castagnoli) != binary.LittleEndian.Uint32(b[4:]) {
		return e, 0, errEnd
	}
	if err := json.Unmarshal(payload, &e); err != nil || e.Seq == 0 {
		return Entry{}, 0, errEnd
	}
	return e, frameHeader + int(size), nil
}

// decodeSegment calls each with the entries of a segment, in order, until it returns false.
// It returns how many bytes of b are whole and right; of something else than a segment 0.
func decodeSegment(b []byte, each func(*Entry) bool) (valid int) {
	if !bytes.HasPrefix(b, []byte(segmentMagic)) {
		return 0
	}
	valid = len(segmentMagic)
	for {
		e, n, err := decodeFrame(b[valid:])
		if err != nil {
			return valid
		}
		valid += n
		if !each(&e) {
			return valid
		}
	}
}

// segmentPath names a segment.
func segmentPath(dir string, number uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%016x%s", number, segmentSuffix))
}

// listSegments returns the numbers of a directory's segments, oldest first; none where
// there is no such directory.
func listSegments(dir string) ([]uint64, error) {
	list, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var numbers []uint64
	for _, f := range list {
		text, ok := strings.CutSuffix(f.Name(), segmentSuffix)
		if n, err := strconv.ParseUint(text, 16, 64); ok && err == nil && f.Type().IsRegular() && segmentPath(dir, n) == filepath.Join(dir, f.Name()) {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, err
}

// readSegment reads a segment of at most limit bytes; nil where it is gone.
func readSegment(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit))
}
