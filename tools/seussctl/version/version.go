// Package version says which seuss this is: its number, the revision that it was
// built from, and the formats that it reads.
//
// Number is the only place of the number. Ownership and locks: the package has no
// state.
package version

import (
	"runtime"
	"runtime/debug"

	"seuss/guest"
	"seuss/images"
	"seuss/lineage"
	"seuss/vmm"
)

// Number follows semantic versioning. Its first entry in CHANGELOG.md is the newest.
const Number = "0.9.0"

// Info describes the program that runs.
type Info struct {
	Version  string   `json:"version"`
	Revision string   `json:"revision,omitempty"` // git's, where the build knew it
	Modified bool     `json:"modified,omitempty"` // the tree had changes beside the revision
	Go       string   `json:"go"`
	Platform string   `json:"platform"` // operating system and architecture
	Formats  []Format `json:"formats"`
}

// Format is a format of files or memory, and the versions of it that are read.
// Others are refused by name.
type Format struct {
	Name  string `json:"name"`
	Reads []int  `json:"reads"`
}

// Get describes the running program.
func Get() Info {
	info := Info{
		Version: Number, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
		Formats: []Format{
			{"guest contract", []int{guest.KernelVersion}},
			{"driver protocol", []int{guest.DriverVersion}},
			{"root image", images.FormatVersions()},
			{"node file", lineage.NodeVersions()},
			{"machine state", []int{vmm.StateVersion}},
		},
	}
	build, ok := debug.ReadBuildInfo()
	if !ok {
		return info
	}
	for _, s := range build.Settings {
		switch s.Key {
		case "vcs.revision":
			info.Revision = s.Value
		case "vcs.modified":
			info.Modified = s.Value == "true"
		}
	}
	return info
}
