package plan

// What a workload, its costs and a tree may hold, a factor of ten above 50,000 functions of
// which each needs the most packages that the published workload has (112).
const (
	MaxFunctions  = 1 << 20
	MaxColumns    = 1 << 16
	MaxPins       = 64 << 20 // packages of all functions together
	MaxNodes      = 1 << 16
	MaxDepth      = 1 << 10
	maxLine       = 1 << 20 // of a file with one document a line, in bytes
	maxDocument   = 256 << 20
	maxDependency = 1 << 20 // dependency sets
)
