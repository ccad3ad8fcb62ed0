package bench

import (
	"reflect"
	"testing"
)

// TestLanguageBars: each bar is about the programs that it names, and what was not measured
// has none.
func TestLanguageBars(t *testing.T) {
	r := LanguageReport{Driver: 100, Zygote: 1000, Rows: []LanguageRow{
		{Program: "flask", Native: 200_000, Pooled: 1000, Serving: 700},
		{Program: "go-http", Native: 5000, Pooled: 2000, Serving: 100},
		{Program: "go-bootstrap", Native: 4000, Pooled: 200},
		{Program: "lua-program", Native: 1000, Pooled: 500},
	}}
	got := map[string][2]float64{}
	for _, b := range r.Bars() {
		got[b.Name] = [2]float64{b.Measured, b.Limit}
		if met := b.Met(); met != (b.Measured <= b.Limit) {
			t.Errorf("%s: %v", b.Name, met)
		}
	}
	want := map[string][2]float64{
		"flask: pooled / native start": {0.005, 0.1}, "flask: pooled / (driver pooled + serving)": {1.25, 1.5},
		"go-http: pooled / native start": {0.4, 0.25}, "go-http: pooled / (driver pooled + serving)": {10, 1.5},
		"go-bootstrap: pooled / zygote": {0.2, 0.25},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%v\nwant %v", got, want)
	}
	if bars := (&LanguageReport{Rows: []LanguageRow{{Program: "flask"}, {Program: "go-bootstrap"}}}).Bars(); len(bars) > 0 {
		t.Errorf("of nothing: %v", bars)
	}
}
