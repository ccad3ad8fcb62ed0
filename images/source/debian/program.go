package debian

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"seuss/images"
)

// ProgramOptions say what is collected around one program.
type ProgramOptions struct {
	Root  string   // see Open
	Path  string   // of the program
	Trees []string // directories to take along, where there are such
	// Packages are taken along with what they depend on.
	Packages []string
	Env      []string // added to the environment, or replacing a default
}

// programEnv is the default environment. One malloc arena, because the guest has one
// vCPU and each further arena would dirty pages of its own.
var programEnv = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/root", "LANG=C.UTF-8", "MALLOC_ARENA_MAX=1"}

// Program returns the Spec of an image with one program and every shared object that
// it needs. Name, Kernel and Check are the caller's.
func Program(ctx context.Context, o ProgramOptions) (images.Spec, error) {
	env := images.MergeEnv(programEnv, o.Env)
	c, err := Open(ctx, o.Root, env)
	if err != nil {
		return images.Spec{}, err
	}
	exe, err := c.Add(o.Path)
	if err != nil {
		return images.Spec{}, err
	}
	for _, dir := range o.Trees {
		if err := c.AddTree(dir); err != nil {
			return images.Spec{}, err
		}
	}
	used, err := c.AddPackages(ctx, o.Packages)
	if err != nil {
		return images.Spec{}, err
	}
	if err := c.AddBase(); err != nil {
		return images.Spec{}, err
	}
	if err := c.Follow(ctx, exe); err != nil {
		return images.Spec{}, err
	}
	packages, err := c.Packages(ctx, used, []string{exe})
	if err != nil {
		return images.Spec{}, err
	}
	return images.Spec{Program: exe, Argv: []string{exe}, Env: env, Files: c.Files(), Packages: packages}, nil
}

// Find finds a program in the directories of distributions, and follows links such as
// those of update-alternatives. root is as for Open.
func Find(root, name string) (string, error) {
	c := newCollector(root)
	for _, dir := range []string{"/usr/bin", "/usr/local/bin"} {
		exe, _, err := c.Resolve(path.Join(dir, name), nil)
		if err == nil {
			return exe, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	return "", fmt.Errorf("neither /usr/bin/%s nor /usr/local/bin/%s exists", name, name)
}

// Resolve returns where a path of the file system at root leads to, with all links
// resolved.
func Resolve(root, p string) (string, error) {
	real, _, err := newCollector(root).Resolve(p, nil)
	return real, err
}
