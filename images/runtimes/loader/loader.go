// Package loader is the driver that is in every image: it calls no handlers but becomes a
// program, whose files and command it is told (ABI_MSG_PROGRAM of the driver's contract).
// It is C without a library, built by go generate and committed.
//
// Units, ownership, locks: as in package runtimes.
package loader

import (
	"embed"

	"seuss/images/runtimes"
)

// Runtime is registered as "loader".
var Runtime = &runtimes.Runtime{
	Name: "loader", Title: "a loader of programs",
	Everywhere: "1", Driver: driver, Main: "loader",
}

func init() { runtimes.Register(Runtime) }

//go:generate sh driver/build.sh loader

//go:embed driver/loader
var files embed.FS

func driver() map[string][]byte { return runtimes.Files(files, "driver", "loader") }
