package runtimes

import (
	"slices"

	"seuss/images"
)

// addEverywhere adds the runtimes that every image has, behind those that were found: none
// of them is ever meant where nothing says which.
func addEverywhere(spec *images.Spec) {
	for _, r := range all {
		if r.Everywhere == "" {
			continue
		}
		path := r.driverPath()
		spec.Files = append(spec.Files, images.File{GuestPath: path, Data: r.Driver()[r.Main], Mode: 0o755})
		spec.Runtimes = append(spec.Runtimes, images.Runtime{Name: r.Name, Version: r.Everywhere, Program: path, Argv: []string{path}, Env: slices.Clone(spec.Env)})
		if spec.Driver == "" {
			spec.Driver = path
		}
	}
}

// everywhere reports whether every image has the runtime of this name.
func everywhere(name string) bool {
	return slices.ContainsFunc(all, func(r *Runtime) bool { return r.Name == name && r.Everywhere != "" })
}
