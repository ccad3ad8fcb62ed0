package tests

import (
	"os/exec"
	"strings"
	"testing"

	"seuss/tools/seussctl/bench"
)

// TestBenchLanguages: a program over each contract is started in each way, and what this
// machine lacks is no error.
func TestBenchLanguages(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("skipped without a C compiler: apt-get install gcc libc6-dev")
	}
	c := newCLI(t)
	linkTree(t, sharedState(t)+"/images", c.state+"/images")
	report := document[bench.LanguageReport](c, "bench", "languages", "--programs", "c-lambda,c-program,go-http", "--rounds", "1")
	if !strings.HasPrefix(report.Platform, c.platform) || report.Driver <= 0 || report.Zygote <= 0 || len(report.Rows)+len(report.Skipped) != 3 {
		t.Fatalf("%+v", report)
	}
	for _, r := range report.Rows {
		if r.Native <= 0 || r.Cold <= 0 || r.Function <= 0 || r.Pooled <= 0 || r.NodeBytes == 0 || (r.Contract == "http") != (r.Serving > 0) {
			t.Errorf("%+v", r)
		}
	}
	c.failure(2, "is not one of", "bench", "languages", "--programs", "cobol")
}
