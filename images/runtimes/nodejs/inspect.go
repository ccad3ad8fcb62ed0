package nodejs

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"seuss/images"
	"seuss/images/runtimes"
)

// oldest is the first version that the driver runs on.
const oldest = 18

var commands = []string{"node", "nodejs"}

var (
	// What the binary calls itself where it serves its inspector.
	ownName = regexp.MustCompile(`node\.js/v([0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3})`)
	hasFlag = regexp.MustCompile(`(` + wasmFlag + `)`)
)

// libNode begins the name of the library that has it all where the binary does not.
const libNode = "libnode.so"

// environment is the default one. One malloc arena, because the guest has one vCPU and
// each further arena would dirty pages of its own.
var environment = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/root", "LANG=C.UTF-8", "MALLOC_ARENA_MAX=1"}

// inspect is the Runtime's Inspect.
func inspect(i *runtimes.Interpreter) (images.Runtime, error) {
	version, err := i.Find(ownName, libNode)
	if err != nil {
		return images.Runtime{}, err
	}
	if version == "" {
		return images.Runtime{}, runtimes.ErrOther
	}
	major, _, _ := strings.Cut(version, ".")
	if n, err := strconv.Atoi(major); err != nil || n < oldest {
		return images.Runtime{}, fmt.Errorf("it is %s, the driver is for %d and later", version, oldest)
	}
	rt := images.Runtime{Version: version, Argv: []string{i.Path}, Env: environment}
	if flag, err := i.Find(hasFlag, libNode); err != nil {
		return images.Runtime{}, err
	} else if flag != "" {
		rt.Argv = append(rt.Argv, flag)
	}
	return rt, nil
}
