// Package samples holds the programs that the demo and the benchmark run,
// embedded so that the command is one file.
//
// Every Python sample has a handler with the signature of AWS Lambda's Python
// model, every one for Node.js is one of its Node.js model. The others are what the benchmark measures functions against.
//
// Units, ownership, locks: the package has no state; callers must not change
// what it returns.
package samples

import _ "embed"

// JSONHash parses, searches, hashes and re-encodes JSON: json, re, hashlib.
//
//go:embed json_hash.py
var JSONHash []byte

// Greet is the small JSON function of the benchmark.
//
//go:embed greet.py
var Greet []byte

// Sort is a second one of the same size, to switch to.
//
//go:embed sort.py
var Sort []byte

// Invoice does much at its first use, to show what a warm-up buys.
//
//go:embed invoice.py
var Invoice []byte

// Matrix solves linear equations with NumPy.
//
//go:embed matrix.py
var Matrix []byte

// Table builds a table of about 20 MB from its argument "table", then answers
// its argument "query".
//
//go:embed table.py
var Table []byte

// NodeGreet is Greet for Node.js.
//
//go:embed greet.js
var NodeGreet []byte

// NodeTable is Table for Node.js.
//
//go:embed table.js
var NodeTable []byte

// Zygote is a server that forks one pre-imported Python process a request.
//
//go:embed zygote.py
var Zygote []byte

// ForkExec is the C program whose fork and exec is the floor for starting
// anything as a process.
//
//go:embed forkexec.c.txt
var ForkExec []byte

// Hold keeps its machine for as many seconds as its event says.
//
//go:embed hold.py
var Hold []byte

// NodeHold is Hold for Node.js.
//
//go:embed hold.js
var NodeHold []byte
