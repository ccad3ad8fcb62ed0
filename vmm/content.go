package vmm

import (
	"errors"
	"fmt"
	"io"

	"seuss/guest"
)

// errContent is a guest that asks for content of the image as none does.
var errContent = errors.New("the guest asks for content of the image")

// readContent puts content of the image that is not mapped where the guest wants it. It
// never changes, so nothing of it is outside input. What the host cannot read ends the run.
func readContent(m *Machine) (Stop, error) {
	var call guest.ContentCall
	if err := m.mem.ReadStruct(GPA(le64(m.control[guest.ControlContentGPA:])), &call); err != nil {
		return m.deviceError(fmt.Errorf("%w: %w", errContent, err))
	}
	switch {
	case m.content == nil:
		return m.deviceError(fmt.Errorf("%w, all of which is mapped", errContent))
	case call.Bytes == 0 || call.Bytes > guest.ContentBytes || (call.Bytes|call.Offset|call.GPA)%pageSize != 0 || call.Offset >= guest.ImageMaxGiB<<30:
		return m.deviceError(fmt.Errorf("%w: %d bytes at %#x", errContent, call.Bytes, call.Offset))
	}
	if err := checkGive(m.mem, call.GPA/pageSize, call.Bytes/pageSize); err != nil {
		return m.deviceError(fmt.Errorf("%w: %w", errContent, err))
	}
	to, err := m.mem.Slice(GPA(call.GPA), call.Bytes)
	if err != nil {
		return m.deviceError(fmt.Errorf("%w: %w", errContent, err))
	}
	m.stats.ContentBytes += call.Bytes
	n, err := m.content.ReadAt(to, int64(call.Offset))
	m.mem.MarkWritten(GPA(call.GPA), call.Bytes)
	if err != nil && !errors.Is(err, io.EOF) {
		return Stop{}, fmt.Errorf("content of the root image: %w", err)
	}
	clear(to[n:])
	return Stop{}, nil
}
