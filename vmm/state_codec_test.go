package vmm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"seuss/guest"
	"seuss/vmm/platform"
	"seuss/vmm/vsock"
)

// sampleState is a state with something in every field.
func sampleState() *State {
	s := &State{CPL: 3, RAMBytes: 64 << 20, ImageBytes: 4096, KernelEnd: guest.KernelGPA + 0x8000,
		UpcallEntry: guest.KernelGPA + 0x100, ConsoleTail: 5, MonoNS: 77}
	s.CPU.Regs = platform.Regs{RAX: 1, RIP: guest.KernelGPA}
	s.CPU.Special.CS = platform.Segment{Selector: 0x23, Limit: 0xffffffff, L: 1}
	s.CPU.Special.CR3 = guest.PML4GPA
	s.CPU.Debug.DR6 = 0xffff0ff0
	s.CPU.Events.Flags = 13
	s.CPU.XCR0 = 7
	s.CPU.MSRs = []platform.MSR{{Index: 0x10a, Value: 1}, {Index: 0xc0000081, Value: 2}}
	s.CPU.XSave = bytes.Repeat([]byte{9}, 576)
	s.Vsock = vsock.State{CID: 3, Status: 15, NextPort: 1 << 30, Streams: []vsock.StreamSnapshot{
		{HostPort: 1, GuestPort: 2, State: vsock.StreamOpen, PeerAlloc: 1, Received: 3, In: []byte("abc"), Out: []byte("de")},
		{HostPort: 1, GuestPort: 3, State: vsock.StreamConnecting, Pending: 1},
	}}
	return s
}

func TestStateEncoding(t *testing.T) {
	s := sampleState()
	raw, err := s.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	var back State
	if err := back.UnmarshalBinary(raw); err != nil {
		t.Fatal(err)
	}
	if !back.Equal(s) || !s.Equal(&back) {
		t.Fatal("the encoding loses something")
	}
	// The format is frozen: a build that changes it must change its version.
	const want = 24 + 632 + 2*16 + 576
	if fixed := len(raw) - len(s.Vsock.Append(nil)); fixed != want {
		t.Errorf("format version %d has %d bytes before the vsock state, this build writes %d", stateVersion, want, fixed)
	}
	if device := len(s.Vsock.Append(nil)); device != 140+2*44+5 {
		t.Errorf("format version %d has %d bytes of vsock state, this build writes %d", stateVersion, 140+2*44+5, device)
	}
}

// What is decoded by hand is what encoding/binary writes, field by field.
func TestStateFixedLayout(t *testing.T) {
	raw := make([]byte, stateFixedBytes)
	for i := range raw {
		raw[i] = byte(i*7 + 1)
	}
	var a, b stateFixed
	if n, err := binary.Decode(raw, binary.LittleEndian, &a); err != nil || n != stateFixedBytes {
		t.Fatal(n, err)
	}
	copy(b.bytes(), raw)
	if a != b {
		t.Errorf("%+v, want %+v", b, a)
	}
	if n := binary.Size(stateHeader{}); n != stateHeaderBytes {
		t.Errorf("a header has %d bytes, not %d", n, stateHeaderBytes)
	}
	if n := binary.Size(platform.MSR{}); n != msrBytes {
		t.Errorf("an MSR has %d bytes, not %d", n, msrBytes)
	}
}

func TestStateRefusals(t *testing.T) {
	raw, err := sampleState().MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	keep := *sampleState()
	for n := range raw {
		s := keep
		if err := s.UnmarshalBinary(raw[:n]); !errors.Is(err, ErrState) {
			t.Fatalf("%d of %d bytes: %v", n, len(raw), err)
		}
		if !s.Equal(&keep) {
			t.Fatal("a refused state changed its receiver")
		}
	}
	for name, change := range map[string]func([]byte){
		"magic":    func(b []byte) { b[0]++ },
		"version":  func(b []byte) { b[8]++ },
		"contract": func(b []byte) { b[12]++ },
		"length":   func(b []byte) { b[16]++ },
	} {
		bad := bytes.Clone(raw)
		change(bad)
		var s State
		err := s.UnmarshalBinary(bad)
		if !errors.Is(err, ErrState) {
			t.Errorf("%s: %v", name, err)
		}
		t.Log(err)
	}
	if err := new(State).UnmarshalBinary(append(bytes.Clone(raw), 0)); !errors.Is(err, ErrState) {
		t.Error("a byte too many:", err)
	}
	bad := sampleState()
	bad.CPL = 1
	if _, err := bad.MarshalBinary(); err == nil {
		t.Error("an impossible state was encoded")
	}
}

func FuzzState(f *testing.F) {
	raw, err := sampleState().MarshalBinary()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add(raw[:binary.Size(stateHeader{})])
	f.Fuzz(func(t *testing.T, raw []byte) {
		var s State
		if err := s.UnmarshalBinary(raw); err != nil {
			if !errors.Is(err, ErrState) {
				t.Fatal(err)
			}
			return
		}
		back, err := s.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(back, raw) {
			t.Fatal("accepted bytes encode differently")
		}
	})
}
