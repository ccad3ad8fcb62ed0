// Package samples holds the programs that the demo and the benchmark run,
// embedded so that the command is one file: those of the default runtime, which lie
// in its folder, and what the benchmark measures functions against.
//
// Units, ownership, locks: the package has no state; callers must not change
// what it returns.
package samples

import (
	_ "embed"

	"seuss/images/runtimes"
	_ "seuss/images/runtimes/all"
)

func code(name string) []byte { return runtimes.Default().Sample(name).Code }

var (
	// JSONHash parses, searches, hashes and re-encodes JSON: json, re, hashlib.
	JSONHash = code("json-hash")
	// Greet is the small JSON function of the benchmark.
	Greet = code("greet")
	// Sort is a second one of the same size, to switch to.
	Sort = code("sort")
	// Invoice does much at its first use, to show what a warm-up buys.
	Invoice = code("invoice")
	// Matrix solves linear equations with NumPy.
	Matrix = code("matrix")
	// Table builds a table of about 20 MB from its argument "table", then answers
	// its argument "query".
	Table = code("table")
	// SGD is a stochastic gradient descent by workers that share regions.
	SGD = code("sgd")
	// Hold keeps its machine for as many seconds as its event says.
	Hold = code("hold")
)

// Zygote is a server that forks one pre-imported Python process a request.
//
//go:embed zygote.py
var Zygote []byte

// ZygoteTree is a tree of such processes.
//
//go:embed zygote_tree.py
var ZygoteTree []byte

// ZygoteCaller is a program that has such a server work for it.
//
//go:embed zygote_caller.py
var ZygoteCaller []byte

// ChainBench is a function that calls another one.
//
//go:embed chain_bench.py
var ChainBench []byte

// StateBench is a function that uses state and a region.
//
//go:embed state_bench.py
var StateBench []byte

// RedisBench does with Redis what StateBench does with state, as a function and as a program.
//
//go:embed redis_bench.py
var RedisBench []byte

// SGDRedis is SGD with Redis in place of regions; it imports that and RedisBench.
//
//go:embed sgd_redis.py
var SGDRedis []byte

// ForkExec is the C program whose fork and exec is the floor for starting
// anything as a process.
//
//go:embed forkexec.c.txt
var ForkExec []byte
