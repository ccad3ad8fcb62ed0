// Package fake is a platform whose guests are Go functions: for tests of whatever
// stands above machines, in milliseconds and without KVM, processes or privileges.
//
// A guest's memory is real, and so are boot, restore, capture, reset, page tracking,
// doorbells and the virtio-vsock rings; the processor is not. Nothing of what lies in
// memory is executed: any kernel library will do, also the real one of an image.
//
// # How to write a guest
//
// A Guest is called when its machine is entered after a rest: after boot, after a
// restore and, if it returned, whenever there is something for it. When it returns, the
// machine rests at its idle doorbell. CPU.Wait rests in the middle and comes back when
// there is something to do.
//
//	p := fake.New(fake.Options{Guest: func(c *fake.CPU) {
//		s := c.Vsock().Stream(guest.DriverPort) // connects, the first time
//		if c.Word(0) == 0 { // nothing has run yet
//			c.SetWord(0, 1)
//			s.WriteFrame(guest.MsgReady, []byte(`{"runtime":"fake","version":"1"}`))
//		}
//		for {
//			kind, payload := s.ReadFrame() // waits
//			...
//		}
//	}})
//
// A snapshot has memory and registers, but no stack of a Go function. So a guest that
// is restored is called from its beginning, and what it has to know must be in its
// memory: Word, Bytes, and the streams of Vsock, which keep themselves there. A guest
// that looks at its memory first, as above, cannot tell the difference between being
// restored and having been woken.
//
// A guest is stopped by a kick at any call of a method of CPU or Stream; CPU.Spin
// computes until then. One that is made another instance in the middle never returns
// from the call that it is in: its deferred functions run.
//
// Options.NewVM makes machines that cannot be had, Options.Settle and Options.SetState
// such as cannot be reset; CPU.Die one that dies by itself.
//
// What it does not have: a privilege level, exceptions and system calls (Fault, Exit
// and Panic report them as the kernel library does), page protection, pages that are
// filled on demand (they are filled when they are mapped), write tracking of hardware.
//
// Units are those of package vmm. A VM owns its memory's address space and the
// goroutine of its guest, which ends with it. Lock: Platform.mu counts machines, a
// leaf.
package fake
