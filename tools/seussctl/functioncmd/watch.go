package functioncmd

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher"
	"seuss/dispatcher/bundle"
	"seuss/tools/seussctl/cmdline"
	"seuss/tools/seussctl/watch"
)

// watchAndDeploy deploys a function now and whenever its code changes, until the command
// is interrupted. Between deployments the state directory is free for others.
func watchAndDeploy(c *cli.Context, e *cmdline.Env, spec dispatcher.FunctionSpec) (err error) {
	w, err := watch.Open(c.Args().Get(1), bundle.Skipped)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	var last [sha256.Size]byte
	packages := &required{}
	for {
		if spec.Name != "" && codeDigest(&spec) != last {
			last = codeDigest(&spec)
			err := deploy(e, c, spec, packages)
			if c.Context.Err() != nil {
				return nil
			}
			tellBroken(c, e, err)
		}
		if err := w.Next(c.Context); err != nil {
			if c.Context.Err() != nil {
				return nil // interrupted: that is how it ends
			}
			return err
		}
		if spec, err = readDeployment(c, e); err != nil {
			tellBroken(c, e, err)
			spec, last = dispatcher.FunctionSpec{}, [sha256.Size]byte{}
		}
	}
}

// tellBroken says, in one line, why code is not deployed.
func tellBroken(c *cli.Context, e *cmdline.Env, err error) {
	if err == nil {
		return
	}
	reason := strings.Join(strings.Fields(err.Error()), " ")
	var failed *dispatcher.FunctionError
	if errors.As(err, &failed) && len(failed.StackTrace) > 0 { // where it failed
		reason += " (" + strings.Join(strings.Fields(failed.StackTrace[len(failed.StackTrace)-1]), " ") + ")"
	}
	e.Notef("%s is not deployed, what was before stays: %s", c.Args().First(), reason)
}

// codeDigest tells code apart.
func codeDigest(spec *dispatcher.FunctionSpec) (sum [sha256.Size]byte) {
	h := sha256.New()
	fmt.Fprintf(h, "%q\n", spec.Handler)
	for _, name := range slices.Sorted(maps.Keys(spec.Files)) {
		fmt.Fprintf(h, "%q %d\n", name, len(spec.Files[name]))
		h.Write(spec.Files[name])
	}
	h.Sum(sum[:0])
	return sum
}
