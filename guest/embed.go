package guest

import (
	_ "embed"
	"fmt"
	"strings"
)

//go:generate sh kernel/build.sh ../kernel.elf

//go:embed kernel.elf
var kernelELF []byte

// Kernel returns the kernel library, an x86-64 ELF linked at KernelGPA. It is
// built from guest/kernel by go generate and committed, so that nobody needs a
// C compiler to build this module. The caller must not change it.
func Kernel() []byte { return kernelELF }

// protocol lists the driver protocol's constants under the names that drivers use.
var protocol = []struct {
	name  string
	value int
}{
	{"VERSION", DriverVersion}, {"DRIVER_PORT", DriverPort}, {"FRAME_HEADER", FrameHeader}, {"SEED_BYTES", SeedBytes}, {"SO_DRIVER", SoDriver},
	{"RESULT_BYTES", ResultBytes},
	{"MSG_IMPORT", MsgImport}, {"MSG_LOAD", MsgLoad}, {"MSG_INVOKE", MsgInvoke},
	{"MSG_INVOKE_LAZY", MsgInvokeLazy}, {"MSG_ARG", MsgArg}, {"MSG_READY", MsgReady}, {"MSG_DONE", MsgDone},
	{"MSG_RESULT", MsgResult}, {"MSG_ERROR", MsgError}, {"MSG_WANT", MsgWant},
	{"WANT_ALL", WantAll}, {"WANT_CONTEXT", WantContext}, {"WANT_RANDOM", WantRandom},
}

// Protocol renders the driver protocol's constants in a driver's language: head, then a
// line for each, whose format takes the name and the value.
func Protocol(head, line string) []byte {
	var b strings.Builder
	b.WriteString(head)
	for _, c := range protocol {
		fmt.Fprintf(&b, line, c.name, c.value)
	}
	return []byte(b.String())
}
