package ruby

import (
	"fmt"
	"path"
	"regexp"
	"strings"

	"seuss/images"
	"seuss/images/runtimes"
)

// oldest is the first version that the driver's Ruby runs on.
const oldest = "3.1"

var commands = []string{"ruby", "ruby[0-9]*"}

// ownName is in what RUBY_DESCRIPTION says.
var ownName = regexp.MustCompile(`ruby ([3-9]\.[0-9]\.[0-9]{1,2})(?:p[0-9]+)? \(`)

// environment is the default one, as of the image of Debian's own.
var environment = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/root", "LANG=C.UTF-8", "MALLOC_ARENA_MAX=1"}

// inspect is the Runtime's Inspect.
func inspect(i *runtimes.Interpreter) (images.Runtime, error) {
	version, err := i.Find(ownName, "libruby")
	if err != nil {
		return images.Runtime{}, err
	}
	if version == "" {
		return images.Runtime{}, runtimes.ErrOther
	}
	if strings.Compare(version, oldest) < 0 {
		return images.Runtime{}, fmt.Errorf("it is %s, the driver is for %s and later", version, oldest)
	}
	return images.Runtime{Version: version, Argv: []string{path.Clean(i.Path)}, Env: environment}, nil
}
