package bench

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// ColdRow is what starting one function from files that are not in memory took in
// one way.
type ColdRow struct {
	Function string  `json:"function"`
	Way      string  `json:"way"`
	N        int     `json:"n"`
	P50      float64 `json:"p50_us"` // opening the state directory to result
	P99      float64 `json:"p99_us"`
	Run      float64 `json:"run_p50_us"` // the handler alone
	Read     uint64  `json:"read_bytes"` // from the disk, median
	Touched  uint64  `json:"demanded_pages"`
	Set      uint64  `json:"loading_set_pages"`
}

// ColdSamples collects a row.
type ColdSamples struct {
	took, run []time.Duration
	read      []uint64
	demanded  []uint64
}

// Add takes one start.
func (s *ColdSamples) Add(took, run time.Duration, read, demanded uint64) {
	s.took, s.run = append(s.took, took), append(s.run, run)
	s.read, s.demanded = append(s.read, read), append(s.demanded, demanded)
}

// Row sums them up.
func (s *ColdSamples) Row(function, way string, set uint64) ColdRow {
	row := NewRow(way, s.took)
	return ColdRow{Function: function, Way: way, N: row.N, P50: row.P50, P99: row.P99, Run: micros(Percentile(s.run, 50)),
		Read: Percentile(s.read, 50), Touched: Percentile(s.demanded, 50), Set: set}
}

// ForgetFiles drops the files below the folders of a state directory out of the page
// cache. Nothing of this process may have them mapped: what it does not need any
// more is collected first.
func ForgetFiles(dir string, folders ...string) error {
	for range 3 { // a mapping is released after its owner was found to be gone
		runtime.GC()
		time.Sleep(5 * time.Millisecond)
	}
	for _, folder := range folders {
		entries, err := os.ReadDir(filepath.Join(dir, folder))
		if err != nil {
			return err
		}
		for _, e := range entries {
			if !e.Type().IsRegular() {
				continue
			}
			if err := forgetFile(filepath.Join(dir, folder, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

func forgetFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	// Pages that are not on the disk yet stay.
	if err := unix.Fdatasync(int(f.Fd())); err != nil {
		return fmt.Errorf("sync %s: %w", path, err)
	}
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		return fmt.Errorf("drop %s out of the page cache: %w", path, err)
	}
	return nil
}

// ReadBytes returns how much this process has read from disks (/proc/self/io).
func ReadBytes() (uint64, error) {
	b, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(b) {
		if text, ok := bytes.CutPrefix(line, []byte("read_bytes: ")); ok {
			return strconv.ParseUint(string(bytes.TrimSpace(text)), 10, 64)
		}
	}
	return 0, fmt.Errorf("/proc/self/io has no read_bytes")
}
