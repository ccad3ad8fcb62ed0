// Package lua is an image of Debian's Lua 5.4, for programs: there is no driver, so
// functions cannot be written in it.
//
// Units, ownership, locks: as in package runtimes.
package lua

import (
	"context"
	"fmt"

	"seuss/images"
	"seuss/images/runtimes"
	"seuss/images/source/debian"
)

// Runtime is registered as "lua".
var Runtime = &runtimes.Runtime{Name: "lua", Title: "Lua 5.4", AnyProgram: true, Find: find, Collect: collect}

func init() { runtimes.Register(Runtime) }

// moduleTrees are where its modules lie.
var moduleTrees = []string{"/usr/share/lua/5.4", "/usr/lib/x86_64-linux-gnu/lua/5.4", "/usr/local/share/lua/5.4", "/usr/local/lib/lua/5.4"}

func collect(ctx context.Context, o runtimes.Options) (images.Spec, error) {
	exe := o.Program
	if exe == "" {
		var err error
		if exe, err = findAt(o.Root); err != nil {
			return images.Spec{}, err
		}
	}
	spec, err := debian.Program(ctx, debian.ProgramOptions{Root: o.Root, Path: exe, Trees: moduleTrees, Packages: o.Packages, Env: o.Env})
	if err != nil {
		return images.Spec{}, err
	}
	spec.Check = []string{spec.Program, "-e", ""}
	return spec, nil
}

func find() (string, error) { return findAt("") }

func findAt(root string) (string, error) {
	exe, err := debian.Find(root, "lua5.4")
	if err != nil {
		return "", fmt.Errorf("%w; install it with: apt-get install lua5.4", err)
	}
	return exe, nil
}
