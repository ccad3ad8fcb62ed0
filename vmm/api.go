package vmm

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"

	"seuss/guest"
)

// APIFunc answers a request of the guest's function, within what answer has room for, and
// returns how many bytes it has written there; false: nobody is there to answer. Both are the
// machine's, and not to be kept. It is called by the goroutine inside Run, for the guest, which
// waits: it must not block, and takes less than a millisecond.
type APIFunc func(request, answer []byte) (bytes int, ok bool)

// apiCall is what is needed to answer one; its buffers are made when there is a first one.
type apiCall struct{ request, answer []byte }

// askedAPI answers what the guest's function asks in this exit. A call that is none is the
// guest's mistake.
func (m *runLoop) askedAPI() (Stop, error) {
	var call guest.ApiCall
	at := GPA(le64(m.control[guest.ControlApiGPA:]))
	if err := m.mem.ReadStruct(at, &call); err != nil {
		return m.deviceError(fmt.Errorf("the function asks the host: %w", err))
	}
	if call.Bytes > guest.ApiBytes || call.Room > guest.ApiBytes {
		return m.deviceError(fmt.Errorf("the function asks the host, with %d bytes and room for %d, at most %d are possible", call.Bytes, call.Room, guest.ApiBytes))
	}
	bytes := guest.ApiCallSize + uint64(max(call.Bytes, call.Room))
	memory, err := m.mem.Slice(at, bytes)
	if err == nil && uint64(at)+bytes > m.mem.ram { // the image is not to be written to
		err = addressError(at, bytes, GPA(m.mem.ram))
	}
	if err != nil {
		return m.deviceError(fmt.Errorf("the function asks the host: %w", err))
	}
	if m.asked.request == nil {
		m.asked = apiCall{make([]byte, guest.ApiBytes), make([]byte, guest.ApiBytes)}
	}
	errno := unix.ENXIO
	n, result := 0, -uint32(errno)
	if m.answer != nil {
		request := m.asked.request[:call.Bytes]
		copy(request, memory[guest.ApiCallSize:]) // once: it is looked at after that
		if some, ok := m.answer(request, m.asked.answer[:call.Room]); ok {
			n, result = copy(memory[guest.ApiCallSize:], m.asked.answer[:some]), 0
		}
	}
	binary.LittleEndian.PutUint32(memory[guest.ApiCallBytes:], uint32(n))
	binary.LittleEndian.PutUint32(memory[guest.ApiCallResult:], result)
	m.mem.MarkWritten(at, guest.ApiCallSize+uint64(n))
	return Stop{}, nil
}
