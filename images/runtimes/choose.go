package runtimes

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"seuss/images"
)

// ErrNotServed: an image has no runtime, or no version of it, that a function asks for.
var ErrNotServed = errors.New("no such runtime in the image")

// Ask is what a function is written for.
type Ask struct {
	Runtime *Runtime // nil: whatever the image has
	// Version is what its name for AWS Lambda says, such as "3.12" of python3.12; "": any.
	Version string
}

// ParseAsk reads the name of a runtime, or AWS Lambda's name of one of its versions; "" is
// whatever an image has.
func ParseAsk(name string) (Ask, error) {
	if name == "" {
		return Ask{}, nil
	}
	for _, r := range all {
		if r.Name == name {
			return Ask{Runtime: r}, nil
		}
		before, after, _ := strings.Cut(r.Lambda, "*")
		rest, ok := strings.CutPrefix(name, before)
		version, ok2 := strings.CutSuffix(rest, after)
		if r.Lambda != "" && ok && ok2 && isVersion(version, r.LambdaParts) {
			return Ask{r, version}, nil
		}
	}
	return Ask{}, fmt.Errorf("runtime %q is not one of %s", name, strings.Join(askable(), ", "))
}

// askable names what ParseAsk takes.
func askable() (names []string) {
	for _, r := range WithFunctions() {
		names = append(names, r.Name)
		if r.Lambda != "" {
			names = append(names, strings.Replace(r.Lambda, "*", strings.TrimSuffix(strings.Repeat("N.", r.LambdaParts), "."), 1))
		}
	}
	return names
}

func isVersion(text string, parts int) bool {
	list := strings.Split(text, ".")
	return len(list) == parts && !slices.ContainsFunc(list, func(p string) bool { return p == "" || strings.Trim(p, "0123456789") != "" })
}

// LambdaName is AWS Lambda's name of a version; "" if it has none or the version is not
// known.
func (r *Runtime) LambdaName(version string) string {
	short := r.short(version)
	if r.Lambda == "" || short == "" {
		return ""
	}
	return strings.Replace(r.Lambda, "*", short, 1)
}

// short is the part of a version that Lambda's name has.
func (r *Runtime) short(version string) string { return Parts(version, r.LambdaParts) }

// Parts are the first parts of a version; "" if it has not so many.
func Parts(version string, parts int) string {
	list := strings.Split(version, ".")
	if len(list) < parts {
		return ""
	}
	return strings.Join(list[:parts], ".")
}

func (a Ask) String() string {
	switch {
	case a.Runtime == nil:
		return "any runtime"
	case a.Version == "":
		return a.Runtime.Name
	}
	return a.Runtime.LambdaName(a.Version)
}

// everywhere reports whether it asks for what every image has.
func (a Ask) everywhere() bool { return a.Runtime != nil && a.Runtime.Everywhere != "" }

// takes reports whether a runtime of an image is what is asked for.
func (a Ask) takes(rt *images.Runtime) bool {
	if a.Runtime == nil {
		return !everywhere(rt.Name)
	}
	return a.Runtime.Name == rt.Name && (a.Version == "" || a.Runtime.short(rt.Version) == a.Version)
}

// Of returns the runtimes of an image, the one that is meant where nothing says which
// first. One that lists none has the driver that its configuration names, if it does.
func Of(c *images.Config) []images.Runtime {
	if len(c.Runtimes) > 0 {
		return c.Runtimes
	}
	rt := images.Runtime{Program: c.Program, Argv: c.Argv, Env: c.Env}
	for _, r := range all {
		if r.Driver != nil && (c.Driver == r.driverPath() || c.Driver == images.DriverDir+"/"+r.Main) {
			rt.Name = r.Name
			if r.VersionOf != nil {
				rt.Version = r.VersionOf(*c)
			}
		}
	}
	if rt.Name == "" && c.Driver == "" && len(c.Argv) == 0 {
		return nil
	}
	return []images.Runtime{rt}
}

// In returns which of an image's runtimes a function that asks so runs on, by its index
// among Of's.
func (a Ask) In(image string, list []images.Runtime) (int, error) {
	for n := range list {
		if list[n].Name == "" && a.Runtime == nil || a.takes(&list[n]) {
			return n, nil
		}
	}
	has := "none"
	var names []string
	for _, rt := range list {
		if !everywhere(rt.Name) {
			names = append(names, rt.String())
		}
	}
	if len(names) > 0 {
		has = strings.Join(names, ", ")
	}
	return 0, fmt.Errorf("%w: %s is wanted, image %s has %s: %s", ErrNotServed, a, image, has, a.Remedy())
}

// Remedy says how to get an image that has it.
func (a Ask) Remedy() string {
	switch {
	case a.Runtime == nil:
		return "build an image with an interpreter: seussctl image build"
	case a.everywhere():
		return "it is of an earlier release: build the image anew"
	case a.Version == "":
		return fmt.Sprintf("build an image with %s: seussctl image build --runtime %s", a.Runtime.Title, a.Runtime.Name)
	}
	return fmt.Sprintf("build one from a root that holds %s %s: seussctl image build %s --from SOURCE", a.Runtime.Title, a.Version, a.Runtime.LambdaName(a.Version))
}
