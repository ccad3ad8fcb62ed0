package contracts

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"seuss/dispatcher/instance"
	"seuss/guest"
)

// Become has the loader of an instance write a program's files; in the next run of the
// guest it becomes the program. code is a Load. What is wrong with the program is an
// *instance.HandlerError.
func Become(s instance.Session, code []byte) error {
	var l Load
	if err := json.Unmarshal(code, &l); err != nil {
		return fmt.Errorf("code of a program: %w", err)
	}
	return s.Become(l.records())
}

// records are the document in the form that the loader reads (guest/abi/driver.h).
func (l *Load) records() []byte {
	var b []byte
	add := func(kind uint8, name string, value []byte) {
		b = append(b, kind)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(name)))
		b = binary.LittleEndian.AppendUint32(b, uint32(len(value)))
		b = append(append(b, name...), value...)
	}
	size := 0
	for name, content := range l.Files {
		size += guest.ProgramRecord + len(name) + len(content)
	}
	b = make([]byte, 0, size+guest.ProgramTextBytes)
	for _, name := range slices.Sorted(maps.Keys(l.Files)) {
		add(guest.ProgramFile, name, l.Files[name])
	}
	for _, word := range l.Command {
		add(guest.ProgramArgument, "", []byte(word))
	}
	for _, name := range slices.Sorted(maps.Keys(l.Environment)) {
		add(guest.ProgramVariable, "", []byte(name+"="+l.Environment[name]))
	}
	if l.Dir != "" {
		add(guest.ProgramDirectory, "", []byte(l.Dir))
	}
	return b
}
