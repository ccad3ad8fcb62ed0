// Package ruby is the runtime of functions in Ruby: Debian's own interpreter with its
// standard library and the gems that Debian packages.
//
// A handler is one of AWS Lambda's Ruby model, handler(event:, context:), of a file
// itself or of one of its classes. The driver requires json, socket and fiddle, so a
// function finds them loaded, as it finds some libraries in Lambda.
//
// Units, ownership, locks: as in package runtimes.
package ruby

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"

	"seuss/guest"
	"seuss/images"
	"seuss/images/runtimes"
	"seuss/images/source/debian"
)

// Runtime is registered as "ruby".
var Runtime = &runtimes.Runtime{
	Name: "ruby", Title: "Ruby",
	Endings: []string{".rb"}, Handler: "handler",
	Lambda: "ruby*", LambdaParts: 2, VersionOf: versionOf,
	// Each thread and each fiber sets some hundred KiB of addresses aside for its
	// stack, and touches little of it.
	MemoryBytes: 2 << 30,
	Driver:      driver, Main: "driver.rb",
	Find: find, Collect: collect,
	Commands: commands, Inspect: inspect, LayerPaths: layerPaths,
	Starter: runtimes.Starter(sampleFiles, "main.rb"), Samples: samples(),
}

func init() { runtimes.Register(Runtime) }

//go:embed driver/*.rb
var driverFiles embed.FS

// driver returns driver.rb, the program, what it loads, and the constants that they
// use.
func driver() map[string][]byte {
	names, err := fs.Glob(driverFiles, "driver/*.rb")
	if err != nil { // the pattern is well-formed
		panic(err)
	}
	for n := range names {
		names[n] = path.Base(names[n])
	}
	files := runtimes.Files(driverFiles, "driver", names...)
	files["protocol.rb"] = guest.Protocol("# frozen_string_literal: true\n\n# The driver protocol's constants, from guest/abi/driver.h.\nmodule SeussDriver\n", "  %s = %d\n")
	files["protocol.rb"] = append(files["protocol.rb"], "end\n"...)
	return files
}

const command = "/usr/bin/ruby"

var debianBinary = regexp.MustCompile(`^/usr/bin/ruby([0-9]+\.[0-9]+)$`)

// versionOf is the version that an image's program is.
func versionOf(c images.Config) string {
	if m := debianBinary.FindStringSubmatch(c.Program); m != nil {
		return m[1]
	}
	return ""
}

func find() (string, error) {
	exe, err := debian.Find("", path.Base(command))
	if err != nil {
		return "", fmt.Errorf("%w; install it with: apt-get install ruby", err)
	}
	return exe, nil
}

// trees are where Debian's packages keep the standard library, the shared objects of
// extensions, RubyGems and gems.
var trees = []string{
	"/usr/lib/ruby", "/usr/lib/x86_64-linux-gnu/ruby",
	"/usr/share/rubygems-integration", "/usr/lib/x86_64-linux-gnu/rubygems-integration",
}

// checkScript requires what has shared objects of other packages behind it.
const checkScript = `%w[bigdecimal digest/sha2 etc fiddle json openssl psych socket zlib].each { |name| require name }`

// collect returns the Spec of an image with Debian's own Ruby, its standard library
// and gems, and every shared object that they need.
func collect(ctx context.Context, o runtimes.Options) (images.Spec, error) {
	exe, err := debian.Resolve(o.Root, command)
	if errors.Is(err, fs.ErrNotExist) {
		return images.Spec{}, fmt.Errorf("%s is missing; install it with: apt-get install ruby", command)
	} else if err != nil {
		return images.Spec{}, err
	}
	if !debianBinary.MatchString(exe) {
		return images.Spec{}, fmt.Errorf("%s is %s, want Debian's /usr/bin/rubyX.Y; install it with: apt-get install --reinstall ruby", command, exe)
	}
	spec, err := debian.Program(ctx, debian.ProgramOptions{Root: o.Root, Path: command, Trees: trees, Packages: o.Packages, Env: o.Env})
	if err != nil {
		return images.Spec{}, err
	}
	spec.Check = []string{spec.Program, "-e", checkScript}
	return spec, nil
}

// layerPaths is the Runtime's LayerPaths, as AWS Lambda's "Packaging your layer content"
// has them.
func layerPaths(_ string) map[string][]string {
	return map[string][]string{"RUBYLIB": {"/opt/ruby/lib"}} // gems: driver/function.rb
}
