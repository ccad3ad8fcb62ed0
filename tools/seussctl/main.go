// Command seussctl manages snapshot lineages of functions in KVM unikernels:
// it builds images, deploys and invokes functions, and shows the snapshot tree.
//
// Exit codes: 0 success, 1 failure, 2 wrong usage, 3 the function itself failed.
package main

import (
	"os"

	"seuss/tools/seussctl/app"
)

func main() {
	os.Exit(app.Run(os.Stdin, os.Stdout, os.Stderr, os.Args))
}
