package benchcmd

import (
	"strings"
	"testing"

	"seuss/tools/seussctl/bench"
)

// TestPrintLanguages: what was left out is named with what to install.
func TestPrintLanguages(t *testing.T) {
	var b strings.Builder
	r := &bench.LanguageReport{Driver: 300, Zygote: 1500, Rows: []bench.LanguageRow{
		{Program: "go-http", Contract: "http", Native: 9000, Cold: 80000, Function: 4000, Pooled: 900, Serving: 500, NodeBytes: 2 << 20},
		{Program: "c-program", Contract: "program", Native: 1000, Cold: 70000, Function: 3000, Pooled: 200, NodeBytes: 1 << 20},
	}, Skipped: []bench.Skipped{{Program: "java-http", Lacks: "the Debian package openjdk-17-jre-headless"}}}
	if err := printLanguages(&b, r); err != nil {
		t.Fatal(err)
	}
	const want = `PROGRAM    CONTRACT   NATIVE      COLD  FUNCTION    POOLED   SERVING     NODE  POOLED / NATIVE
go-http    http      9.00 ms  80.00 ms   4.00 ms  900.0 µs  500.0 µs  2.0 MiB              0.1
c-program  program   1.00 ms  70.00 ms   3.00 ms  200.0 µs         -  1.0 MiB              0.2

a Python function of the driver's, pooled: 300.0 µs; a Python zygote: 1.50 ms

BAR                                          MEASURED    LIMIT  MET
go-http: pooled / native start                  0.100  ≤ 0.250  yes
go-http: pooled / (driver pooled + serving)     1.125  ≤ 1.500  yes
left out: java-http, for want of the Debian package openjdk-17-jre-headless
`
	if b.String() != want {
		t.Errorf("%s\nwant\n%s", b.String(), want)
	}
}
