package guest

import (
	"embed"
	"fmt"
	"strings"
)

//go:generate sh kernel/build.sh ../kernel.elf

//go:embed kernel.elf
var kernelELF []byte

//go:embed driver/driver.py driver/warm_up.py
var pythonDriver embed.FS

//go:generate sh driver/node/build.sh host.node

//go:embed driver/node/driver.js driver/node/warm_up.js driver/node/random.js driver/node/host.node
var nodeDriver embed.FS

// Kernel returns the kernel library, an x86-64 ELF linked at KernelGPA. It is
// built from guest/kernel by go generate and committed, so that nobody needs a
// C compiler to build this module. The caller must not change it.
func Kernel() []byte { return kernelELF }

// WarmUpFile is the name, among a driver's files, of the function that the driver
// loads and invokes before the base snapshot is taken: a JSON object with
// "handler", "files" (content in base64 by path) and "warm_up" (the events).
const WarmUpFile = "warm_up.json"

// PythonDriver returns the files of the Python runtime's driver by name, as
// they belong into one directory of the root image: driver.py, the program,
// warm_up.py, and protocol.py, the constants of abi.h that they use.
func PythonDriver() map[string][]byte {
	files := embedded(pythonDriver, "driver/", "driver.py", "warm_up.py")
	files["protocol.py"] = protocolModule()
	return files
}

// NodeDriver returns the files of the Node.js runtime's driver by name, as they
// belong into one directory of the root image: driver.js, the program, what it
// loads, and protocol.js, the constants of abi.h.
func NodeDriver() map[string][]byte {
	files := embedded(nodeDriver, "driver/node/", "driver.js", "warm_up.js", "random.js", "host.node")
	files["protocol.js"] = protocolScript()
	return files
}

func embedded(from embed.FS, dir string, names ...string) map[string][]byte {
	files := map[string][]byte{}
	for _, name := range names {
		content, err := from.ReadFile(dir + name)
		if err != nil { // it is embedded
			panic(err)
		}
		files[name] = content
	}
	return files
}

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

func protocolModule() []byte {
	var b strings.Builder
	b.WriteString("\"\"\"The driver protocol's constants, from guest/abi.h.\"\"\"\n\n")
	for _, c := range protocol {
		fmt.Fprintf(&b, "%s = %d\n", c.name, c.value)
	}
	return []byte(b.String())
}

func protocolScript() []byte {
	var b strings.Builder
	b.WriteString("// The driver protocol's constants, from guest/abi.h.\n'use strict';\n\n")
	for _, c := range protocol {
		fmt.Fprintf(&b, "exports.%s = %d;\n", c.name, c.value)
	}
	return []byte(b.String())
}
