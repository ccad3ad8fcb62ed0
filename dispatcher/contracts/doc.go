// Package contracts has the ways in which a program says that it is ready, and takes
// requests. Each declares itself in a folder of its own and registers (package all names
// them): the drivers of runtimes, plain programs, AWS Lambda's Runtime API, HTTP on a
// port.
//
// A driver's function is code that a runtime loads. Every other contract's is a Program:
// the image's base node holds a loader (Loader), which is told by a LOAD document what to
// write below TaskRoot and which command to become. Await then runs the guest until the
// program is ready, the instance is captured, and for each request Serve converses with a
// fresh instance of that node.
//
// The guest is hostile: what Await and Serve take from it is bounded where it is taken,
// and every run of it has a deadline. Nothing here has state: what is known of an
// instance is the Instance's, and everything happens on the goroutine that runs it.
package contracts
