package vsock

import (
	"fmt"

	"seuss/guest"
)

// ReadRegister returns a register of the virtio-mmio transport. Registers are
// four bytes wide; other widths are for the configuration space only. What
// does not exist reads as zero, as on real devices.
func (d *Device) ReadRegister(reg uint32, size uint8) uint64 {
	if reg >= regConfig {
		return d.readConfig(reg-regConfig, size)
	}
	if size != 4 {
		return 0
	}
	q := d.selected()
	switch reg {
	case regMagic:
		return guest.VsockMagic
	case regVersion:
		return guest.VsockVersion
	case regDeviceID:
		return vsockDevice
	case regVendorID:
		return vendorID
	case regDeviceFeatures:
		switch d.deviceSel {
		case 0:
			return featuresOffered & 0xffffffff
		case 1:
			return featuresOffered >> 32
		}
	case regQueueNumMax:
		if q != nil {
			return queueMax
		}
	case regQueueReady:
		if q != nil && q.Ready {
			return 1
		}
	case regInterruptStatus:
		return uint64(d.interruptStatus)
	case regStatus:
		return uint64(d.status)
	}
	return 0
}

// readConfig returns bytes of struct virtio_vsock_config.
func (d *Device) readConfig(off uint32, size uint8) uint64 {
	if off >= configBytes {
		return 0
	}
	var config [2 * configBytes]byte // room to read 8 bytes from any offset
	le.PutUint64(config[:], uint64(d.CID()))
	return le.Uint64(config[off:]) & (^uint64(0) >> (64 - 8*uint(size)))
}

// selected returns the queue that QueueSel names, nil if there is no such.
func (d *Device) selected() *virtqueue {
	if d.queueSel < queueCount {
		return &d.queues[d.queueSel]
	}
	return nil
}

// WriteRegister stores to a register. A store that does not make sense is
// ignored, as on real devices; a queue that cannot work breaks the device.
func (d *Device) WriteRegister(reg uint32, size uint8, value uint64) error {
	if size != 4 || reg >= regConfig {
		return nil
	}
	v := uint32(value)
	switch reg {
	case regDeviceFeaturesSel:
		d.deviceSel = v
	case regDriverFeaturesSel:
		d.driverSel = v
	case regDriverFeatures:
		switch {
		case d.status&statusFeaturesOK != 0:
		case d.driverSel == 0:
			d.driverFeatures = d.driverFeatures&^0xffffffff | uint64(v)
		case d.driverSel == 1:
			d.driverFeatures = d.driverFeatures&0xffffffff | uint64(v)<<32
		}
	case regQueueSel:
		d.queueSel = v
	case regQueueNotify:
		// The idle doorbell serves the queues too, so a driver needs this only
		// if it wants the device to look at once.
		return d.Service()
	case regInterruptACK:
		d.interruptStatus &^= v
	case regStatus:
		return d.setStatus(v)
	default:
		return d.writeQueue(reg, v)
	}
	return nil
}

// setStatus follows VIRTIO 3.1.1: zero resets, features are judged when the
// driver says it is done with them.
func (d *Device) setStatus(v uint32) error {
	if v == 0 {
		d.PowerOn()
		return nil
	}
	if v&statusFeaturesOK != 0 && d.status&statusFeaturesOK == 0 {
		if d.driverFeatures&^featuresOffered != 0 || d.driverFeatures&featureVersion1 == 0 {
			v &^= statusFeaturesOK // the driver reads it back and gives up
		}
	}
	if v&statusDriverOK != 0 && v&statusFeaturesOK == 0 {
		v &^= statusDriverOK
	}
	d.status = v&^statusNeedsReset | d.status&statusNeedsReset
	return nil
}

// writeQueue stores to a register of the selected queue. A queue in use can
// only be given up.
func (d *Device) writeQueue(reg, v uint32) error {
	q := d.selected()
	if q == nil {
		return nil
	}
	if reg == regQueueReady {
		switch {
		case v == 0:
			q.reset()
		case v == 1 && !q.Ready:
			if err := q.open(); err != nil {
				return d.fail(fmt.Errorf("enable queue: %w", err))
			}
		}
		return nil
	}
	if q.Ready {
		return nil
	}
	switch reg {
	case regQueueNum:
		q.Size = uint16(min(v, 0xffff))
	case regQueueDescLow:
		q.Desc = lowHalf(q.Desc, v)
	case regQueueDescHigh:
		q.Desc = highHalf(q.Desc, v)
	case regQueueDriverLow:
		q.Avail = lowHalf(q.Avail, v)
	case regQueueDriverHigh:
		q.Avail = highHalf(q.Avail, v)
	case regQueueDeviceLow:
		q.Used = lowHalf(q.Used, v)
	case regQueueDeviceHigh:
		q.Used = highHalf(q.Used, v)
	}
	return nil
}

func lowHalf(g guest.GPA, v uint32) guest.GPA  { return g&^0xffffffff | guest.GPA(v) }
func highHalf(g guest.GPA, v uint32) guest.GPA { return g&0xffffffff | guest.GPA(v)<<32 }
