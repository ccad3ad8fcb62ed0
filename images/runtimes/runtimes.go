package runtimes

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"seuss/images"
)

// Runtime is a language runtime that images are built for.
type Runtime struct {
	// Name is that of its image, unless the user gives it another, and what --runtime
	// takes.
	Name string
	// Title names it for people.
	Title string
	// Default marks the one that is meant where nothing says which; one has it.
	Default bool

	// Endings are those of the files that may be a module with a handler, with the dot.
	// None: functions cannot be written for it, and it has no driver.
	Endings []string
	// Handler is the function that a module exports by default.
	Handler string
	// Lambda is AWS Lambda's name of a version, with a * for the version, such as
	// "nodejs*.x", and LambdaParts is how many numbers of the version stand there: what has
	// the same runs the same handlers. Lambda is empty where Lambda has none.
	Lambda      string
	LambdaParts int
	// VersionOf is the version in an image that does not list its runtimes, as far as its
	// configuration tells.
	VersionOf func(images.Config) string

	// Everywhere is the version of a runtime that every image has: its driver is the file
	// Main, a program that needs no interpreter and nothing else of the image. Functions
	// cannot be written for it, no image is built for it, and it is not listed. "": it is
	// none.
	Everywhere string

	// MemoryBytes is guest RAM by default; 0 = images.DefaultMemoryBytes.
	MemoryBytes uint64
	// AnyProgram: the interpreter may be another than the one that Find returns.
	AnyProgram bool
	// Optional are the parts of an image that can be left out.
	Optional []Part

	// Driver returns the scripts by path, from the root or below images.DriverDir, and Main
	// is the one that the interpreter runs.
	Driver func() map[string][]byte
	Main   string
	// Find returns the path of this host's interpreter, or says how to get one.
	Find func() (string, error)
	// Collect returns what belongs into an image, the driver apart: Program, Argv with
	// the interpreter and its flags, Env, Files, Packages and Check.
	Collect func(context.Context, Options) (images.Spec, error)
	// Commands are patterns, as of path.Match, of the names that the interpreter has in the
	// directories of PATH, the preferred one first. None: nothing is looked for.
	Commands []string
	// Inspect says of a file of a root that has one of these names which version it is, and
	// with what arguments and environment it is started: Version, Argv and Env. It looks at
	// files and runs nothing. ErrOther: it is another program. Any other error says why
	// functions cannot run on it.
	Inspect func(*Interpreter) (images.Runtime, error)
	// LayerPaths are the variables, such as PYTHONPATH, with the directories in which a
	// version looks for what AWS Lambda's layers bring; nil: there are none.
	LayerPaths func(version string) map[string][]string
	// Requirements are nil where there is no installer.
	Requirements *Requirements
	// Findings says what the file system at root lacks, "" being the host's own; nil
	// means that nothing has to be there.
	Findings func(ctx context.Context, root string) []Finding

	// Packages says how installed packages are looked into; nil: import nodes are not
	// planned for the runtime.
	Packages *Packages

	// Starter is what a new function begins as: a module, and an Event for it.
	Starter Sample
	// Samples are functions that the demo and the benchmark run, in the demo's order.
	Samples []Sample
}

// Part is something that an image holds unless it is left out.
type Part struct {
	Name  string // of Options.Without
	Usage string // help for leaving it out
}

// Finding is what a host has of a runtime, or lacks.
type Finding struct {
	Name     string
	Detail   string // what was found
	Fix      string // what to do about it; "" = it is in order
	Optional bool   // images can be built without it
}

// Sample is a function that shows the runtime.
type Sample struct {
	Name string // of the function, and of the module
	Code []byte
	// The demo runs those that have an Event.
	Event   string
	Imports []string
	Lazy    bool
	StopAt  string // argument at which to take a snapshot
	// Needs is a guest path without which it cannot run, and Lacking says what that is
	// and how to get it.
	Needs, Lacking string
}

// Sample returns the sample of a name; the zero Sample if there is none.
func (r *Runtime) Sample(name string) Sample {
	for _, s := range r.Samples {
		if s.Name == name {
			return s
		}
	}
	return Sample{}
}

// Module returns the file of a function with one module of this name.
func (r *Runtime) Module(name string) string { return name + r.Endings[0] }

var all []*Runtime

// Register adds a runtime. A folder calls it from its init; what contradicts another
// folder panics.
func Register(r *Runtime) {
	for _, o := range all {
		same := slices.ContainsFunc(r.Endings, func(e string) bool { return slices.Contains(o.Endings, e) })
		if o.Name == r.Name || o.Default && r.Default || same || r.Lambda != "" && o.Lambda == r.Lambda {
			panic(fmt.Sprintf("runtimes %s and %s: same name, ending or Lambda name, or both the default", o.Name, r.Name))
		}
	}
	if r.Name == "" || r.Collect == nil && r.Everywhere == "" || len(r.Endings) > 0 && (r.Driver == nil || r.Handler == "" || r.Inspect == nil || r.Starter.Code == nil) {
		panic(fmt.Sprintf("runtime %q is incomplete", r.Name))
	}
	all = append(all, r)
	slices.SortFunc(all, func(a, b *Runtime) int { return strings.Compare(a.Name, b.Name) })
}

// All returns the runtimes that images are built for, sorted by name.
func All() []*Runtime {
	return slices.DeleteFunc(slices.Clone(all), func(r *Runtime) bool { return r.Everywhere != "" })
}

// Names returns their names, sorted.
func Names() []string {
	var names []string
	for _, r := range All() {
		names = append(names, r.Name)
	}
	return names
}

// WithFunctions returns those that functions can be written for, sorted by name.
func WithFunctions() []*Runtime {
	return slices.DeleteFunc(All(), func(r *Runtime) bool { return len(r.Endings) == 0 })
}

// Default returns the runtime that is meant where nothing says which.
func Default() *Runtime {
	for _, r := range all {
		if r.Default {
			return r
		}
	}
	panic("no default runtime is registered: import seuss/images/runtimes/all")
}

// ByName returns the runtime of a name.
func ByName(name string) (*Runtime, error) {
	for _, r := range All() {
		if r.Name == name {
			return r, nil
		}
	}
	return nil, fmt.Errorf("%q is not one of %s", name, strings.Join(Names(), ", "))
}

// ByFileEnding returns the runtime that a file's module is for, by its name; nil if
// there is none.
func ByFileEnding(name string) *Runtime {
	for _, r := range all {
		if slices.Contains(r.Endings, path.Ext(name)) {
			return r
		}
	}
	return nil
}

// ByFiles returns the runtime of a function's files: the one that a module at the top
// is for. If there are none or several it is the default.
func ByFiles(files map[string][]byte) *Runtime {
	var found *Runtime
	for name := range files {
		r := ByFileEnding(name)
		if r == nil || strings.Contains(name, "/") || r == found {
			continue
		}
		if found != nil {
			return Default()
		}
		found = r
	}
	if found == nil {
		return Default()
	}
	return found
}

// Endings returns the endings of all modules, those of the default runtime first.
func Endings() []string {
	list := slices.Clone(Default().Endings)
	for _, r := range all {
		if !r.Default {
			list = append(list, r.Endings...)
		}
	}
	return list
}
