package cmdline

import "seuss/images/runtimes"

// OtherRuntimes names the runtimes besides the default that the demo and the
// benchmark use, where this machine has them.
func (e *Env) OtherRuntimes() (names []string) {
	for _, r := range runtimes.WithFunctions() {
		if r.Default {
			continue
		}
		if _, err := r.Find(); err != nil {
			e.Notef("%s is left out: %v", r.Title, err)
			continue
		}
		names = append(names, r.Name)
	}
	return names
}

// BuiltRuntimes returns the runtimes besides the default that functions can be written
// for and whose images there are.
func (e *Env) BuiltRuntimes() (list []*runtimes.Runtime) {
	for _, r := range runtimes.WithFunctions() {
		if _, err := e.Images().Find(r.Name); err == nil && !r.Default {
			list = append(list, r)
		}
	}
	return list
}
