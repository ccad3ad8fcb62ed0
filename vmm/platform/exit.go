package platform

import "seuss/guest"

// ExitKind says why the guest stopped.
type ExitKind uint8

// The exits. Fields of Exit that are not named hold zero.
const (
	// ExitUnknown is never returned together with a nil error.
	ExitUnknown ExitKind = iota
	// ExitDoorbell is a 4-byte store to the doorbell page: GPA is the offset
	// in that page, Value what was stored.
	ExitDoorbell
	// ExitMMIORead is a load from an address without memory: GPA and Size. The
	// value is supplied through VCPU.CompleteRead.
	ExitMMIORead
	// ExitMMIOWrite is a store to an address without memory: GPA, Size, Value.
	ExitMMIOWrite
	// ExitInterrupted is a kick.
	ExitInterrupted
	// ExitShutdown is a triple fault.
	ExitShutdown
	// ExitDirtyFull means that the platform's write tracking must be collected
	// before the guest can go on.
	ExitDirtyFull
	// ExitInternalError means that the platform cannot go on: Value is its
	// reason, Detail the suberror, Why may say it in words.
	ExitInternalError
)

var exitNames = [...]string{"unknown", "doorbell", "mmio read", "mmio write", "interrupted", "shutdown (triple fault)", "dirty tracking full", "platform cannot continue"}

func (k ExitKind) String() string {
	if int(k) < len(exitNames) {
		return exitNames[k]
	}
	return "invalid"
}

// Exit tells why VCPU.Run returned.
type Exit struct {
	Kind   ExitKind
	Size   uint8 // bytes, 1 to 8
	GPA    guest.GPA
	Value  uint64
	Detail uint64
	Why    string
}
