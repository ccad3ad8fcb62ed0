package bench

// ImagesReport is what images cost: to build, to keep, and to start functions in.
type ImagesReport struct {
	Platform string     `json:"platform"`
	Files    uint64     `json:"file_bytes"` // of the regular files of the image's layers
	Builds   []ImageRow `json:"builds"`
	Skipped  []Skipped  `json:"skipped"`
	// Shared is what the second of two images with a base in common took: on the disk, and
	// of memory with a function of each running.
	Shared []SharedRow `json:"shared"`
	// Cold are starts of the same function from files that are not in memory.
	Cold   []ColdRow      `json:"cold"`
	Each   []FunctionCost `json:"functions"` // what a further function with the same packages takes
	Pooled []Row          `json:"pooled"`
}

// ImageRow is one program's work on the image; medians.
type ImageRow struct {
	What  string  `json:"what"`
	Took  float64 `json:"took_ms"`
	Bytes uint64  `json:"disk_bytes"` // of what it left
}

// SharedRow is what an image takes.
type SharedRow struct {
	Image  string `json:"image"`
	Disk   uint64 `json:"disk_bytes"`
	Memory uint64 `json:"memory_bytes"` // anonymous, and of files in memory
	Cache  uint64 `json:"cache_bytes"`  // of its files, resident, that were not before
}

// FunctionCost is the mean of what functions take, each.
type FunctionCost struct {
	Way       string  `json:"way"`
	Functions int     `json:"functions"`
	Disk      float64 `json:"disk_bytes"`
	Memory    float64 `json:"memory_bytes"`
	Deploy    float64 `json:"deploy_ms"`
}

// Names of rows that the bars are of.
const (
	RowBuild   = "image build"
	RowAgain   = "image build, again"
	RowUnpack  = "umoci"
	RowSmall   = "small root"
	RowLarge   = "large root"
	RowLayered = "layered"
	RowFlat    = "flat"
)

const (
	imageBytesLimit = 1.05 // an image's bytes to those of its files
	imageBuildLimit = 1    // building to umoci's unpacking
	largeRootLimit  = 1.3  // a cold start in a large root to one in a small one
	layeredLimit    = 1.05 // a pooled start in an image of layers to one in one file: noise
)

// Bars compares a report with the limits. What was not measured is left out.
func (r *ImagesReport) Bars() (bars []Bar) {
	build := map[string]ImageRow{}
	for _, row := range r.Builds {
		build[row.What] = row
	}
	if made, ok := build[RowBuild]; ok && r.Files > 0 {
		bars = append(bars, Bar{Name: "image / files of its layers, bytes", Measured: float64(made.Bytes) / float64(r.Files), Limit: imageBytesLimit})
		if umoci, ok := build[RowUnpack]; ok {
			bars = append(bars, Bar{Name: "image build / umoci unpack", Measured: made.Took / umoci.Took, Limit: imageBuildLimit})
		}
	}
	cold := map[string]ColdRow{}
	for _, row := range r.Cold {
		cold[row.Way] = row
	}
	if small, ok := cold[RowSmall]; ok && small.P50 > 0 {
		bars = append(bars, Bar{Name: "cold start, large root / small root", Measured: cold[RowLarge].P50 / small.P50, Limit: largeRootLimit})
	}
	pooled := map[string]Row{}
	for _, row := range r.Pooled {
		pooled[row.Path] = row
	}
	if flat, ok := pooled[RowFlat]; ok && flat.P50 > 0 {
		bars = append(bars, Bar{Name: "pooled start, layered / flat", Measured: pooled[RowLayered].P50 / flat.P50, Limit: layeredLimit})
	}
	return bars
}
