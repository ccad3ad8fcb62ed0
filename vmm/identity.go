package vmm

import (
	"errors"
	"fmt"
	"math/bits"
	"time"

	"golang.org/x/sys/unix"

	"seuss/guest"
	"seuss/vmm/internal/x86"
)

// DefaultCID is the vsock context id of a guest where nothing else is asked
// for: the first that is not reserved (linux/vm_sockets.h).
const DefaultCID = 3

// Identity is what is fresh in every instance. Generation, entropy and time
// are filled in by WriteIdentity.
type Identity struct {
	// CID is the guest's vsock context id, DefaultCID if 0.
	CID uint32
}

// guestClock relates the guest's time-stamp counter to its monotonic time:
// mono = baseNS + (tsc - baseTSC) * mult / 2^32.
type guestClock struct {
	baseTSC uint64
	baseNS  uint64
	mult    uint64
	offset  int64 // guest TSC - host TSC
	stopped bool  // stands at baseNS until the next rebase
}

// newGuestClock computes the multiplier for a frequency.
func newGuestClock(tscKHz uint64, offset int64) (guestClock, error) {
	if tscKHz == 0 {
		return guestClock{}, errors.New("guest clock: TSC frequency is 0 kHz")
	}
	// 10^6 ns per ms, tscKHz ticks per ms.
	return guestClock{mult: (1e6<<32 + tscKHz/2) / tscKHz, offset: offset}, nil
}

// tsc returns the guest's time-stamp counter.
func (c *guestClock) tsc() uint64 { return x86.TSC() + uint64(c.offset) }

// at returns the monotonic time at a TSC value, as the guest computes it. A
// value before the base, which another CPU's counter may show, counts as it.
func (c *guestClock) at(tsc uint64) uint64 {
	if c.stopped || int64(tsc-c.baseTSC) < 0 {
		return c.baseNS
	}
	hi, lo := bits.Mul64(tsc-c.baseTSC, c.mult)
	return c.baseNS + hi<<32 + lo>>32
}

// now returns the guest's monotonic time.
func (c *guestClock) now() uint64 { return c.at(c.tsc()) }

// rebase makes the guest's monotonic time ns, now.
func (c *guestClock) rebase(ns uint64) {
	c.baseTSC, c.baseNS, c.stopped = c.tsc(), ns, false
}

// stop makes the guest's monotonic time ns and holds it there, so that a
// restored machine that waits in a pool does not age.
func (c *guestClock) stop(ns uint64) { c.baseNS, c.stopped = ns, true }

// MonoNS returns the guest's monotonic clock in nanoseconds, which runs on
// over captures without the time that a snapshot lay on disk.
func (m *Machine) MonoNS() uint64 { return m.clock.now() }

// WriteIdentity makes the machine an instance of its own: it writes a
// generation number, entropy from the host's generator and the present time to
// the identity page. It must be called before the first instruction after a
// cold boot (ColdBoot does) or a restore. Where the host gives no entropy the
// page is left as it was and the error says so: the caller must not run the
// machine.
func (m *Machine) WriteIdentity(id Identity) error {
	if id.CID == 0 {
		id.CID = DefaultCID
	}
	var random [len(guest.Identity{}.Entropy) + 8]byte
	if err := getrandom(random[:]); err != nil {
		return fmt.Errorf("write identity: no entropy for a fresh instance: %w", err)
	}
	page, err := m.mem.Slice(guest.IdentityGPA, guest.IdentitySize)
	if err != nil {
		return fmt.Errorf("write identity: %w", err)
	}
	generation := le64(random[len(random)-8:])
	if generation == 0 || generation == le64(page[guest.IdentityGeneration:]) {
		generation = m.identities + 1
	}
	m.identities++
	m.clock.rebase(m.clock.now())
	clear(page)
	put64(page[guest.IdentityGeneration:], generation)
	copy(page[guest.IdentityEntropy:guest.IdentityWallNS], random[:])
	put64(page[guest.IdentityWallNS:], uint64(time.Now().UnixNano()))
	put64(page[guest.IdentityMonoNS:], m.clock.baseNS)
	put64(page[guest.IdentityTSC:], m.clock.baseTSC)
	put64(page[guest.IdentityTSCMult:], m.clock.mult)
	put32(page[guest.IdentityCID:], id.CID)
	calls := m.vcpu.GuestCalls()
	put64(page[guest.IdentityDeviceStore:], calls.DeviceStore)
	put64(page[guest.IdentitySetBase:], calls.SetBase)
	put64(page[guest.IdentityApi:], 1)
	if calls.Protect {
		put32(page[guest.IdentityProtect:], 1)
	}
	m.mem.MarkWritten(guest.IdentityGPA, guest.IdentitySize)
	m.vsock.SetCID(id.CID)
	clear(random[:])
	return nil
}

// getrandom fills p from the host's generator, without waiting: a host whose
// generator is not seeded yet is an error.
func getrandom(p []byte) error {
	for len(p) > 0 {
		n, err := unix.Getrandom(p, unix.GRND_NONBLOCK)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("getrandom of %d bytes: %w", len(p), err)
		}
		if n == 0 {
			return fmt.Errorf("getrandom of %d bytes returned none", len(p))
		}
		p = p[n:]
	}
	return nil
}
