// Package python is the runtime of functions in Python: Debian's own interpreter, with
// NumPy where that is installed.
//
// A handler is one of AWS Lambda's Python model, handler(event, context).
//
// Units, ownership, locks: as in package runtimes.
package python

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"os/exec"
	"path"
	"strings"
	"time"

	"seuss/guest"
	"seuss/images"
	"seuss/images/runtimes"
	"seuss/images/source/debian"
)

// numpyPart is the optional part of an image.
const numpyPart = "numpy"

// Runtime is registered as "python".
var Runtime = &runtimes.Runtime{
	Name: "python", Title: "Python", Default: true,
	Endings: []string{".py"}, Handler: "handler",
	Lambda: "python*", LambdaParts: 2, VersionOf: versionOf,
	Optional: []runtimes.Part{{Name: numpyPart, Usage: "leave NumPy out although it is installed"}},
	Driver:   driver, Main: "driver.py",
	Find: find, Collect: collect, Findings: findings,
	Commands: commands, Inspect: inspect, LayerPaths: layerPaths, Requirements: requirements,
	Packages: &runtimes.Packages{Handler: "main.handler", List: listPackages, Import: importPackages, Asks: asks, Own: own},
	Starter:  runtimes.Starter(sampleFiles, "main.py"), Samples: samples(),
}

func init() { runtimes.Register(Runtime) }

//go:embed driver/driver.py driver/execute.py driver/files.py driver/holes.py driver/imported.py driver/task.py driver/warm_up.py driver/modules/_seuss_host.py driver/modules/seuss.py
var driverFiles embed.FS

// driver returns driver.py, the program, what it imports, and the constants that they use: for
// the driver and, where functions look for modules, for theirs.
func driver() map[string][]byte {
	files := runtimes.Files(driverFiles, "driver", "driver.py", "execute.py", "files.py", "holes.py", "imported.py", "task.py", "warm_up.py", "modules/_seuss_host.py", "modules/seuss.py")
	protocol := guest.Protocol("\"\"\"The driver protocol's constants, from guest/abi/driver.h.\"\"\"\n\n", "%s = %d\n")
	files["protocol.py"], files["modules/_seuss_protocol.py"] = protocol, protocol
	return files
}

// versionOf is the version that an image's program is.
func versionOf(c images.Config) string {
	if m := debianBinary.FindStringSubmatch(c.Program); m != nil {
		return m[1]
	}
	return ""
}

func find() (string, error) {
	exe, err := debian.Find("", path.Base(command))
	if err != nil {
		return "", fmt.Errorf("%w; install it with: apt-get install python3", err)
	}
	return exe, nil
}

// probeTimeout bounds the interpreter where it is asked for versions.
const probeTimeout = 10 * time.Second

// findings looks at the interpreter and at NumPy.
func findings(ctx context.Context, root string) []runtimes.Finding {
	python := root + command
	missing := runtimes.Finding{Name: "python3", Detail: python + " is missing", Fix: "apt-get install python3"}
	exe, err := debian.Resolve(root, command)
	if err != nil {
		return []runtimes.Finding{missing, noNumPy}
	}
	f := runtimes.Finding{Name: "python3"}
	version, err := ask(ctx, python, "--version")
	switch {
	case err != nil:
		f.Detail, f.Fix = err.Error(), "apt-get install --reinstall python3-minimal"
	case !debianBinary.MatchString(exe):
		f.Detail, f.Fix = fmt.Sprintf("%s is %s, not the distribution's own", python, exe), "apt-get install --reinstall python3-minimal"
	default:
		f.Detail = version + " at " + exe
	}
	// -s keeps a user's own packages out: images hold the distribution's.
	version, err = ask(ctx, python, "-s", "-c", "import numpy; print(numpy.__version__)")
	if err != nil {
		return []runtimes.Finding{f, noNumPy}
	}
	return []runtimes.Finding{f, {Name: numpyPart, Detail: version}}
}

var noNumPy = runtimes.Finding{Name: numpyPart, Detail: "not installed; images are built without it", Fix: "apt-get install python3-numpy", Optional: true}

// ask runs the interpreter and returns what it says.
func ask(ctx context.Context, python string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, python, args...).CombinedOutput()
	text := strings.TrimSpace(string(out))
	if err != nil {
		return "", fmt.Errorf("%s: %w", python, errors.Join(err, errors.New(text[strings.LastIndexByte(text, '\n')+1:])))
	}
	return text, nil
}

// layerPaths is the Runtime's LayerPaths, as AWS Lambda's "Packaging your layer content"
// has them.
func layerPaths(version string) map[string][]string {
	return map[string][]string{"PYTHONPATH": {"/opt/python/lib/python" + runtimes.Parts(version, 2) + "/site-packages", "/opt/python"}}
}
