// Package runtimes is the list of the language runtimes that images can hold. Each
// has a folder below, which registers it; nothing elsewhere names one.
//
// # A runtime's folder
//
// Whatever is to be known of a runtime lies in images/runtimes/NAME:
//
//   - NAME.go: a package-level var Runtime of type [Runtime], with everything that its
//     fields ask for, and an init that calls [Register] with it. Import path of the
//     folder in images/runtimes/all, one line: the only change elsewhere.
//   - driver/: the scripts that run in the guest, embedded, and returned by
//     Runtime.Driver under the names that they have below [images.DriverDir]. The
//     driver speaks the protocol of the guest's driver contract; its constants come as
//     a file of the language from guest.Protocol, so none is written twice. What the
//     driver imports for itself must not be visible to functions. It looks for
//     [WarmUpFile] beside itself when it boots and runs what that says.
//   - collect.go: Runtime.Collect, which takes the interpreter, its library and what
//     they load from the host's packages, with a debian.Collector. The dynamic
//     loader's needs are found by the Collector, not listed. Spec.Check names what a
//     guest must be able to import.
//   - samples/: functions that the demo and the benchmark run: at least "greet" (the
//     small JSON function), "table" (20 MB from its argument "table", then the answer
//     to its argument "query") and "hold" (keeps its machine for as many seconds as
//     its event says), with the same answers as those of the other runtimes.
//   - setup.list: the Debian packages that a developer's machine needs, each line a
//     package and a shell command that succeeds where it is installed; tools/setup.sh
//     reads it.
//   - features.*: what the standard library brings, as functions whose answers in a
//     guest the end-to-end tests compare with native ones.
//   - tests of all that, as far as they need no guest. Those with guests lie in tests/.
//
// A runtime without Endings has no driver: its image runs programs only.
//
// Ownership: a Runtime is registered once, by an init, and never changed. Options
// belong to the caller. Locks: none, because registration ends before main begins.
package runtimes
