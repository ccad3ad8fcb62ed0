package guest

import (
	_ "embed"
	"fmt"
	"strings"
)

//go:generate sh kernel/build.sh ../kernel.elf

//go:embed kernel.elf
var kernelELF []byte

//go:embed driver/driver.py
var pythonDriver []byte

// Kernel returns the kernel library, an x86-64 ELF linked at KernelGPA. It is
// built from guest/kernel by go generate and committed, so that nobody needs a
// C compiler to build this module. The caller must not change it.
func Kernel() []byte { return kernelELF }

// PythonDriver returns the files of the Python runtime's driver by name, as
// they belong into one directory of the root image: driver.py, the program,
// and protocol.py, the constants of abi.h that it uses.
func PythonDriver() map[string][]byte {
	return map[string][]byte{"driver.py": pythonDriver, "protocol.py": protocolModule()}
}

func protocolModule() []byte {
	var b strings.Builder
	b.WriteString("\"\"\"The driver protocol's constants, from guest/abi.h.\"\"\"\n\n")
	for _, c := range []struct {
		name  string
		value int
	}{
		{"DRIVER_PORT", DriverPort}, {"FRAME_HEADER", FrameHeader}, {"SEED_BYTES", SeedBytes}, {"SO_DRIVER", SoDriver},
		{"RESULT_BYTES", ResultBytes},
		{"MSG_IMPORT", MsgImport}, {"MSG_LOAD", MsgLoad}, {"MSG_INVOKE", MsgInvoke},
		{"MSG_INVOKE_LAZY", MsgInvokeLazy}, {"MSG_ARG", MsgArg}, {"MSG_READY", MsgReady}, {"MSG_DONE", MsgDone},
		{"MSG_RESULT", MsgResult}, {"MSG_ERROR", MsgError}, {"MSG_WANT", MsgWant},
		{"WANT_ALL", WantAll}, {"WANT_CONTEXT", WantContext}, {"WANT_RANDOM", WantRandom},
	} {
		fmt.Fprintf(&b, "%s = %d\n", c.name, c.value)
	}
	return []byte(b.String())
}
