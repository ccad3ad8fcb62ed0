package bench

// LanguageRow is what one program of one language takes over its contract, medians in
// microseconds.
type LanguageRow struct {
	Program   string  `json:"program"`
	Contract  string  `json:"contract"`
	Native    float64 `json:"native_p50_us"`   // started on this machine, to its first answer
	Cold      float64 `json:"cold_p50_us"`     // a boot of the image
	Function  float64 `json:"function_p50_us"` // from the node, on a new machine
	Pooled    float64 `json:"pooled_p50_us"`
	Serving   float64 `json:"serving_p50_us,omitempty"` // a server that runs natively, to its answer
	NodeBytes uint64  `json:"function_node_bytes"`
}

// Skipped is a program that could not be measured, and what to install.
type Skipped struct {
	Program string `json:"program"`
	Lacks   string `json:"lacks"`
}

// LanguageReport is a measurement of languages.
type LanguageReport struct {
	Platform string        `json:"platform"`
	Driver   float64       `json:"driver_pooled_p50_us"` // a Python function of a driver's
	Zygote   float64       `json:"zygote_p50_us"`
	Rows     []LanguageRow `json:"rows"`
	Skipped  []Skipped     `json:"skipped"`
}

// What a pooled start may take of a native one, to its first answer, and a server of what a
// driver's pooled start and the server's own work take.
const (
	serverLimit    = 0.1
	goServerLimit  = 0.25
	bootstrapLimit = 0.25 // of the Python zygote
	portLimit      = 1.5
)

// nativeLimits are those of pooled to native.
var nativeLimits = map[string]float64{
	"flask": serverLimit, "java-http": serverLimit, "webrick": serverLimit, "puma": serverLimit, "sinatra": serverLimit, "php": serverLimit, "node-http": serverLimit,
	"express": serverLimit, "fastify": serverLimit,
	"go-http": goServerLimit,
}

// Bars compares a report with the limits. What was not measured is left out.
func (r *LanguageReport) Bars() (bars []Bar) {
	for _, row := range r.Rows {
		if limit, ok := nativeLimits[row.Program]; ok && row.Native > 0 {
			bars = append(bars, Bar{Name: row.Program + ": pooled / native start", Measured: row.Pooled / row.Native, Limit: limit})
		}
		if row.Program == "go-bootstrap" && r.Zygote > 0 {
			bars = append(bars, Bar{Name: row.Program + ": pooled / zygote", Measured: row.Pooled / r.Zygote, Limit: bootstrapLimit})
		}
		if own := r.Driver + row.Serving; row.Serving > 0 && r.Driver > 0 {
			bars = append(bars, Bar{Name: row.Program + ": pooled / (driver pooled + serving)", Measured: row.Pooled / own, Limit: portLimit})
		}
	}
	return bars
}
