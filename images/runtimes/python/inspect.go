package python

import (
	"fmt"
	"io"
	"path"
	"regexp"
	"strconv"

	"seuss/images"
	"seuss/images/runtimes"
)

// oldest is the first version 3.x that the driver runs on.
const oldest = 9

// commands are the names of interpreters in PATH: the one that users mean comes first.
var commands = []string{"python3", "python3.[0-9]*", "python"}

var (
	versioned  = regexp.MustCompile(`^python3\.([0-9]{1,3})$`)
	libPython  = "libpython3."
	anyVersion = regexp.MustCompile(`\x003\.([0-9]{1,2})\.[0-9]{1,2}(?:[ab]|rc)?[0-9]{0,2}\+?\x00`)
)

// neededModules are of the standard library, beside what the interpreter needs to start;
// minimal packages leave some of them out.
var neededModules = []string{"json/__init__.py", "socket.py", "base64.py", "traceback.py"}

// inspect is the Runtime's Inspect.
func inspect(i *runtimes.Interpreter) (images.Runtime, error) {
	minor, err := minorOf(i)
	if err != nil {
		return images.Runtime{}, err
	}
	version, err := i.Find(regexp.MustCompile(fmt.Sprintf(`\x00(3\.%d\.[0-9]{1,2}(?:[ab]|rc)?[0-9]{0,2})\+?\x00`, minor)), libPython)
	if err != nil {
		return images.Runtime{}, err
	}
	if version == "" {
		return images.Runtime{}, runtimes.ErrOther
	}
	if minor < oldest {
		return images.Runtime{}, fmt.Errorf("it is %s, the driver is for 3.%d and later", version, oldest)
	}
	library := path.Join(path.Dir(i.Real), "..", "lib", fmt.Sprintf("python3.%d", minor))
	for _, m := range neededModules {
		if !i.Has(path.Join(library, m)) {
			return images.Runtime{}, fmt.Errorf("%s is missing: install the whole of Python's standard library (Debian: python3)", path.Join(library, m))
		}
	}
	rt := images.Runtime{Version: version, Argv: []string{i.Path}, Env: environment}
	if !i.Fixed() {
		return rt, nil // its addresses are not known before it is loaded
	}
	return rt, i.Content(func(c io.ReaderAt, _ int64) error {
		lockCode, err := lockCodeEnv(c)
		rt.Env = images.MergeEnv(lockCode, environment)
		return err
	})
}

// minorOf is x of the Python 3.x that the interpreter is called after, or else says itself.
func minorOf(i *runtimes.Interpreter) (int, error) {
	if m := versioned.FindStringSubmatch(path.Base(i.Real)); m != nil {
		return strconv.Atoi(m[1])
	}
	minor, err := i.Find(anyVersion, libPython)
	if err != nil {
		return 0, err
	}
	if minor == "" {
		return 0, runtimes.ErrOther
	}
	return strconv.Atoi(minor)
}
