package vsock

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"seuss/guest"
)

// testMemory is a guest's memory of plain bytes from guest.LowGPA on.
type testMemory struct {
	t    testing.TB
	b    []byte
	gone error // what keeps it from being looked at
}

func newTestMemory(t testing.TB, n int) *testMemory {
	t.Helper()
	b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Munmap(b); err != nil {
			t.Error(err)
		}
	})
	return &testMemory{t: t, b: b}
}

func (m *testMemory) Slice(gpa guest.GPA, n uint64) ([]byte, error) {
	if m.gone != nil {
		return nil, m.gone
	}
	end := uint64(len(m.b))
	if uint64(gpa) < guest.LowGPA || uint64(gpa) > end || n > end-uint64(gpa) {
		return nil, fmt.Errorf("%d bytes at %#x are not in memory", n, uint64(gpa))
	}
	return m.b[gpa : uint64(gpa)+n : uint64(gpa)+n], nil
}

func (m *testMemory) MarkWritten(gpa guest.GPA, n uint64) {
	if _, err := m.Slice(gpa, n); err != nil {
		m.t.Errorf("marked as written: %v", err)
	}
}

func (m *testMemory) Bytes() []byte { return m.b }

func (m *testMemory) Write(gpa guest.GPA, p []byte) error {
	b, err := m.Slice(gpa, uint64(len(p)))
	copy(b, p)
	return err
}

func (m *testMemory) WriteU64(gpa guest.GPA, v uint64) error {
	return m.Write(gpa, le.AppendUint64(nil, v))
}
