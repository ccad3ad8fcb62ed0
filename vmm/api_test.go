package vmm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"seuss/guest"
	"seuss/vmm/platform/fake"
	"seuss/vmm/vmmtest/testguest"
)

// askAPI runs a guest whose function asks once, with a call at an address of its choice.
func askAPI(t *testing.T, answer APIFunc, at uint64, call guest.ApiCall, request string) (*Machine, Stop) {
	t.Helper()
	p, err := fake.New(fake.Options{Guest: func(c *fake.CPU) {
		b, err := binary.Append(nil, binary.LittleEndian, call)
		if err != nil {
			panic(err)
		}
		if at < 16<<20 {
			c.Write(guest.GPA(at), append(b, request...))
		}
		c.Write(guest.ControlGPA+guest.ControlApiGPA, binary.LittleEndian.AppendUint64(nil, at))
		c.Doorbell(guest.DoorbellApi, 0)
		c.Exit(7)
	}})
	if err != nil {
		t.Fatal(err)
	}
	m, err := NewMachine(p, Config{RAMBytes: 16 << 20, ImageBytes: 1 << 20, API: answer})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	if err := errors.Join(m.mem.Write(guest.KernelGPA, testguest.Binary), m.ColdBoot(BootConfig{Args: []string{"x"}})); err != nil {
		t.Fatal(err)
	}
	m.mem.HostWritten().Clear()
	stop, err := m.Run(RunOptions{Deadline: time.Now().Add(time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	return m, stop
}

// TestAPI: an answer lies where the request was when the guest goes on, and its pages count as
// written; where nobody answers an errno says so.
func TestAPI(t *testing.T) {
	const at = 0x500000
	double := func(request, answer []byte) (int, bool) {
		return copy(answer, bytes.Repeat(request, 2)), true
	}
	for _, c := range []struct {
		answer  APIFunc
		room    uint32
		request string
		want    string
		result  int32
	}{
		{double, 100, "abc", "abcabc", 0},
		{double, 4, "abc", "abca", 0},
		{double, 0, "abc", "", 0},
		{double, guest.ApiBytes, strings.Repeat("x", guest.ApiBytes), strings.Repeat("x", guest.ApiBytes), 0},
		{func(_, _ []byte) (int, bool) { return 0, false }, 100, "abc", "", -int32(unix.ENXIO)},
		{nil, 100, "abc", "", -int32(unix.ENXIO)},
	} {
		m, stop := askAPI(t, c.answer, at, guest.ApiCall{Bytes: uint32(len(c.request)), Room: c.room, Result: -5}, c.request)
		if stop.Kind != StopExit {
			t.Fatalf("%+v", stop)
		}
		var call guest.ApiCall
		if err := m.mem.ReadStruct(at, &call); err != nil {
			t.Fatal(err)
		}
		got, err := m.mem.Slice(at+guest.ApiCallSize, uint64(call.Bytes))
		if err != nil || call.Result != c.result || string(got) != c.want {
			t.Errorf("%.20q, room %d: result %d, %d bytes %.20q (%v), want %d, %.20q", c.request, c.room, call.Result, call.Bytes, got, err, c.result, c.want)
		}
		if !m.mem.HostWritten().Has(at / guest.PageSize) {
			t.Error("the answer's page does not count as written")
		}
	}
}

// TestAPIForged: a call that none of the kernel library's can be ends its own machine.
func TestAPIForged(t *testing.T) {
	asked := func(_, _ []byte) (int, bool) { t.Error("it was asked"); return 0, true }
	for _, c := range []struct {
		at   uint64
		call guest.ApiCall
	}{
		{0x500000, guest.ApiCall{Bytes: guest.ApiBytes + 1}},
		{0x500000, guest.ApiCall{Room: math.MaxUint32}},
		{17<<20 - 8, guest.ApiCall{}},
		{17<<20 - guest.ApiCallSize, guest.ApiCall{}}, // in the image
		{math.MaxUint64 - 7, guest.ApiCall{}},
		{guest.RegionBase, guest.ApiCall{}},
	} {
		if _, stop := askAPI(t, asked, c.at, c.call, ""); stop.Kind != StopDeviceError {
			t.Errorf("%#x, %+v: %v, want a device error", c.at, c.call, stop.Kind)
		}
	}
}
