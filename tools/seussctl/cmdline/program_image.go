package cmdline

import (
	"cmp"
	"context"
	"debug/elf"
	"errors"
	"path"
	"strings"

	"seuss/guest"
	"seuss/images"
	"seuss/images/source"
)

// ProgramPath is where a program without a slash in its name is looked for.
const ProgramPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// programMemory is the guest RAM of a program from a source: room for what Go's
// runtime and allocators like it reserve and never touch.
const programMemory = 1 << 30

// ProgramImage opens a stored image, or builds one from a source that lasts as long as
// it is open. program is what will be run.
func (e *Env) ProgramImage(ctx context.Context, ref, program string) (img *images.Image, err error) {
	if !source.IsReference(ref) {
		if err := e.EnsureImage(ctx, ref); err != nil {
			return nil, err
		}
		file, err := e.Images().Find(ref)
		if err != nil {
			return nil, err
		}
		return images.Open(file)
	}
	tree, config, err := source.Open(ctx, ref, source.Options{Progress: e.Progress.Step})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, tree.Close()) }()
	scheme, _, _ := strings.Cut(ref, ":")
	spec := images.Spec{
		Name: cmp.Or(tree.Name, scheme), Kernel: guest.Kernel(), MemoryBytes: programMemory, Env: config.Env,
		Program: fixedProgram(tree.Files, program), Files: images.WithMountPoints(tree.Files), Packages: tree.Packages,
	}
	if tree.Skipped > 0 {
		e.Notef("%s: left out %d devices, sockets and FIFOs", ref, tree.Skipped)
	}
	return images.BuildTemporary(ctx, e.StateDir, spec, e.buildProgress)
}

// fixedProgram returns the path of a program of a tree if it is linked for fixed
// addresses, else "". An image shows such a program in its place, so the kernel library
// need not copy it there.
func fixedProgram(files []images.File, name string) string {
	byPath := map[string]string{}
	for _, f := range files {
		byPath[f.GuestPath] = f.HostPath
	}
	for _, p := range ProgramPaths(name) {
		host := byPath[p]
		if host == "" {
			continue
		}
		f, err := elf.Open(host)
		if err != nil {
			return ""
		}
		defer f.Close()
		if f.Type == elf.ET_EXEC && f.Machine == elf.EM_X86_64 {
			return p
		}
		return ""
	}
	return ""
}

// ProgramPaths are where a program may lie: a name without a slash is looked up as a
// shell would, in the image's directories.
func ProgramPaths(name string) []string {
	if strings.Contains(name, "/") {
		return []string{path.Join("/", name)}
	}
	var paths []string
	for dir := range strings.SplitSeq(ProgramPath, ":") {
		paths = append(paths, path.Join(dir, name))
	}
	return paths
}
