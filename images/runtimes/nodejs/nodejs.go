// Package nodejs is the runtime of functions in JavaScript: Node.js, Debian's or
// another.
//
// A handler is one of AWS Lambda's Node.js model, with a promise or a callback, or one that
// streams its answer; the module is CommonJS or an ES module.
//
// Units, ownership, locks: as in package runtimes.
package nodejs

import (
	"context"
	"embed"
	"fmt"
	"slices"
	"strings"

	"seuss/guest"
	"seuss/images"
	"seuss/images/runtimes"
	"seuss/images/source/debian"
)

// Runtime is registered as "node".
var Runtime = &runtimes.Runtime{
	Name: "node", Title: "Node.js",
	Endings: []string{".js", ".mjs", ".cjs"}, Handler: "handler",
	Lambda: "nodejs*.x", LambdaParts: 1, VersionOf: versionOf,
	// V8 reserves address space for code and heap in large pieces, and touches little
	// of it.
	MemoryBytes: 2 << 30,
	AnyProgram:  true,
	Driver:      driver, Main: "driver.js",
	Find: find, Collect: collect,
	Commands: commands, Inspect: inspect, LayerPaths: layerPaths, Requirements: requirements,
	Starter: runtimes.Starter(sampleFiles, "main.js"), Samples: samples(),
}

func init() { runtimes.Register(Runtime) }

//go:generate sh driver/build.sh host
//go:generate sh driver/build.sh region

//go:embed driver/driver.js driver/execute.js driver/files.js driver/task.js driver/warm_up.js driver/random.js driver/response.js driver/host.node driver/region.node driver/modules/seuss.js
var driverFiles embed.FS

// driver returns driver.js, the program, what it loads, and protocol.js, the constants
// that they use.
func driver() map[string][]byte {
	files := runtimes.Files(driverFiles, "driver", "driver.js", "execute.js", "files.js", "task.js", "warm_up.js", "random.js", "response.js", "host.node")
	// Where require and import look from any directory.
	files["/node_modules/seuss/index.js"] = runtimes.Files(driverFiles, "driver/modules", "seuss.js")["seuss.js"]
	files["/node_modules/seuss/region.node"] = runtimes.Files(driverFiles, "driver", "region.node")["region.node"]
	protocol := guest.Protocol("// The driver protocol's constants, from guest/abi/driver.h.\n'use strict';\n\n", "exports.%s = %d;\n")
	files["protocol.js"], files["/node_modules/seuss/protocol.js"] = protocol, protocol
	return files
}

// versionOf is the version that the image's packages say; it is not known of a Node.js
// that no package holds.
func versionOf(c images.Config) string {
	for _, p := range c.Packages {
		if version, ok := strings.CutPrefix(p, "nodejs="); ok {
			version, _, _ = strings.Cut(version, "-")
			return version
		}
	}
	return ""
}

// wasmFlag keeps V8 from reserving 8 GiB around each WebAssembly memory, whose parts
// take exits to be opened: bounds are checked in the code instead. Node.js knows it
// since 20.15 and 22.2.
const wasmFlag = "--disable-wasm-trap-handler"

// checkScript loads what has shared objects of other packages behind it.
const checkScript = "require('crypto'); require('zlib'); require('http2')"

// packageTrees are what Debian's package keeps outside of the binary.
var packageTrees = []string{"/usr/share/nodejs/acorn", "/usr/share/nodejs/acorn-walk", "/usr/share/nodejs/cjs-module-lexer", "/usr/share/nodejs/undici"}

// collect returns the Spec of an image of Node.js, the one that Program names or else
// find's: its binary and libraries.
func collect(ctx context.Context, o runtimes.Options) (images.Spec, error) {
	exe := o.Program
	if exe == "" {
		var err error
		if exe, err = findAt(o.Root); err != nil {
			return images.Spec{}, err
		}
	}
	spec, err := debian.Program(ctx, debian.ProgramOptions{Root: o.Root, Path: exe, Trees: packageTrees, Packages: o.Packages, Env: o.Env})
	if err != nil {
		return images.Spec{}, err
	}
	spec.Check = []string{spec.Program, "-e", checkScript}
	root, err := images.NewRoot(&spec)
	if err != nil {
		return images.Spec{}, err
	}
	i, err := runtimes.NewInterpreter(root, spec.Program)
	if err != nil {
		return images.Spec{}, err
	}
	found, err := inspect(i)
	if err != nil {
		return images.Spec{}, err
	}
	flags := found.Argv[1:]
	spec.Argv = slices.Insert(spec.Argv, 1, flags...)
	spec.Check = slices.Insert(spec.Check, 1, flags...)
	return spec, nil
}

// find returns the path of this host's Node.js.
func find() (string, error) { return findAt("") }

func findAt(root string) (string, error) {
	exe, err := debian.Find(root, "node")
	if err != nil {
		return "", fmt.Errorf("%w; install it with: apt-get install nodejs", err)
	}
	return exe, nil
}

// layerPaths is the Runtime's LayerPaths, as AWS Lambda's "Packaging your layer content"
// has them.
func layerPaths(version string) map[string][]string {
	return map[string][]string{"NODE_PATH": {"/opt/nodejs/node" + runtimes.Parts(version, 1) + "/node_modules", "/opt/nodejs/node_modules"}}
}
