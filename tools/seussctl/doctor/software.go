package doctor

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// commandTimeout bounds the programs that checks start.
const commandTimeout = 10 * time.Second

// debianPython is where /usr/bin/python3 leads on Debian and its relatives;
// package images collects from there.
var debianPython = regexp.MustCompile(`/python3\.[0-9]+$`)

func output(ctx context.Context, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	text := strings.TrimSpace(string(out))
	if err != nil {
		last := text[strings.LastIndexByte(text, '\n')+1:]
		return "", fmt.Errorf("%s: %w: %s", name, err, last)
	}
	return text, nil
}

func (h *Host) python(ctx context.Context) Check {
	c := Check{Name: "python3"}
	exe, err := filepath.EvalSymlinks(h.Python)
	if err != nil {
		c.Status, c.Detail, c.Fix = Failed, h.Python+" is missing", "apt-get install python3"
		return c
	}
	version, err := output(ctx, h.Python, "--version")
	switch {
	case err != nil:
		c.Status, c.Detail, c.Fix = Failed, err.Error(), "apt-get install --reinstall python3-minimal"
	case !debianPython.MatchString(exe):
		c.Status, c.Detail, c.Fix = Failed, fmt.Sprintf("%s is %s, not the distribution's own", h.Python, exe), "apt-get install --reinstall python3-minimal"
	default:
		c.Status, c.Detail = OK, version+" at "+exe
	}
	return c
}

func (h *Host) numpy(ctx context.Context) Check {
	c := Check{Name: "numpy"}
	// -s keeps a user's own packages out: images hold the distribution's.
	version, err := output(ctx, h.Python, "-s", "-c", "import numpy; print(numpy.__version__)")
	if err != nil {
		c.Status, c.Detail, c.Fix = Warning, "not installed; images are built without it", "apt-get install python3-numpy"
		return c
	}
	c.Status, c.Detail = OK, version
	return c
}

// compiler is needed by one row of the benchmark only.
func compiler() Check {
	c := Check{Name: "C compiler"}
	path, err := exec.LookPath("gcc")
	if err != nil {
		c.Status, c.Detail, c.Fix = Warning, "no gcc; the benchmark leaves out its fork-exec-c row", "apt-get install gcc libc6-dev"
		return c
	}
	c.Status, c.Detail = OK, path
	return c
}
