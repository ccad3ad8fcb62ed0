package vmm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"seuss/guest"
	"seuss/vmm/platform/fake"
	"seuss/vmm/vmmtest/testguest"
)

var errDisk = errors.New("the disk is gone")

// contentFile answers as an image of a page and a half, and fails far behind it.
type contentFile struct{}

func (contentFile) ReadAt(p []byte, off int64) (int, error) {
	if off >= 1<<30 {
		return 0, errDisk
	}
	n := copy(p, bytes.Repeat([]byte{7}, max(0, 6144-int(off))))
	return n, io.EOF
}

// askFor runs a guest that asks for content once, at an address of RAM that holds ones.
func askFor(t *testing.T, content io.ReaderAt, call guest.ContentCall) (*Machine, Stop, error) {
	t.Helper()
	const at = 0x500000
	p, err := fake.New(fake.Options{Guest: func(c *fake.CPU) {
		b, err := binary.Append(nil, binary.LittleEndian, call)
		if err != nil {
			panic(err)
		}
		c.Write(at, b)
		c.Write(0x600000, bytes.Repeat([]byte{1}, 3*guest.PageSize))
		c.Write(guest.ControlGPA+guest.ControlContentGPA, binary.LittleEndian.AppendUint64(nil, at))
		c.Doorbell(guest.DoorbellContent, 0)
	}})
	if err != nil {
		t.Fatal(err)
	}
	m, err := NewMachine(p, Config{RAMBytes: 16 << 20, ImageBytes: 1 << 20, Content: content})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	if err := errors.Join(m.mem.Write(guest.KernelGPA, testguest.Binary), m.ColdBoot(BootConfig{Args: []string{"x"}})); err != nil {
		t.Fatal(err)
	}
	m.mem.HostWritten().Clear()
	stop, err := m.Run(RunOptions{Deadline: time.Now().Add(time.Minute)})
	return m, stop, err
}

// TestContent: what a guest asks for lies where it wants it, zeros behind its end, and the
// pages count as written.
func TestContent(t *testing.T) {
	m, stop, err := askFor(t, contentFile{}, guest.ContentCall{Offset: 0, Bytes: 3 * guest.PageSize, GPA: 0x600000})
	if err != nil || stop.Kind != StopIdle {
		t.Fatalf("%+v, %v", stop, err)
	}
	got := make([]byte, 3*guest.PageSize)
	if err := m.mem.Read(0x600000, got); err != nil {
		t.Fatal(err)
	}
	if want := append(bytes.Repeat([]byte{7}, 6144), make([]byte, 6144)...); !bytes.Equal(got, want) || !m.mem.HostWritten().Has(0x602) || m.stats.ContentBytes != 3*guest.PageSize {
		t.Errorf("%d bytes as wanted, %+v", bytes.Count(got, []byte{7}), m.stats)
	}
}

// TestContentHostile: a guest that asks for what is no content, or wants it where it has no
// RAM, is ended; an image that cannot be read is the host's failure.
func TestContentHostile(t *testing.T) {
	for name, call := range map[string]guest.ContentCall{
		"nothing":       {GPA: 0x600000},
		"much":          {Bytes: guest.ContentBytes + guest.PageSize, GPA: 0x600000},
		"askew":         {Bytes: 100, GPA: 0x600000},
		"offset askew":  {Bytes: guest.PageSize, Offset: 8, GPA: 0x600000},
		"far":           {Bytes: guest.PageSize, Offset: 1<<64 - guest.PageSize, GPA: 0x600000},
		"null":          {Bytes: guest.PageSize},
		"image":         {Bytes: guest.PageSize, GPA: 16 << 20},
		"over the end":  {Bytes: 2 * guest.PageSize, GPA: 16<<20 - guest.PageSize},
		"no memory":     {Bytes: guest.PageSize, GPA: 1 << 40},
		"end of memory": {Bytes: guest.PageSize, GPA: 1<<64 - guest.PageSize},
	} {
		if _, stop, err := askFor(t, contentFile{}, call); err != nil || stop.Kind != StopDeviceError || !errors.Is(stop.Err, errContent) {
			t.Errorf("%s: %+v, %v", name, stop, err)
		}
	}
	good := guest.ContentCall{Bytes: guest.PageSize, GPA: 0x600000}
	if _, stop, err := askFor(t, nil, good); err != nil || stop.Kind != StopDeviceError || !strings.Contains(stop.Err.Error(), "all of which is mapped") {
		t.Errorf("an image that is mapped: %+v, %v", stop, err)
	}
	good.Offset = 1 << 30
	if _, _, err := askFor(t, contentFile{}, good); !errors.Is(err, errDisk) {
		t.Errorf("an image that cannot be read: %v", err)
	}
}
