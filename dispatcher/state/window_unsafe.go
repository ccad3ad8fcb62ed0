package state

import "unsafe"

// wordsAt are the words of a slot's head, which lies in memory, at a multiple of 8 bytes of what
// begins at a page.
func wordsAt(memory []byte, at int) *[slotHead / 8]uint64 {
	return (*[slotHead / 8]uint64)(unsafe.Pointer(&memory[at : at+slotHead][0]))
}
