package imports

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// told is what a driver says of: import json; import pandas, which imports numpy, which
// imports a module of the runtime; a module of the function.
const told = `{"distributions": [{"name": "pandas", "version": "1.5.3", "requires": ["python-dateutil", "NumPy"]},
	{"name": "numpy", "version": "1.24.2", "requires": []}, {"name": "Python_Dateutil", "version": "2.8", "requires": []}, {"name": "unused", "version": "1", "requires": []}],
	"imports": [["json", -1, 0, 500, 500, 3], ["ctypes", -1, 3, 1000, 1000, 5], ["numpy.core", 1, 2, 2000, 3000, 7], ["numpy", 1, 1, 4000, 7000, -2],
	["dateutil", 2, 1, 250, 250, 1], ["pandas", 0, 0, 8000, 15250, 90], ["häuser.mine", -2, 0, 100, 100, 0]], "left_out": 4}`

func TestDecode(t *testing.T) {
	r, err := Decode([]byte(told))
	if err != nil {
		t.Fatal(err)
	}
	want := []Distribution{
		{Name: "numpy", Version: "1.24.2", MS: 6, TotalMS: 7, Pages: 5, Modules: 2},
		{Name: "Python_Dateutil", Version: "2.8", MS: 0.25, TotalMS: 0.25, Pages: 1, Modules: 1},
		{Name: "pandas", Version: "1.5.3", MS: 8, TotalMS: 15.25, Pages: 90, Modules: 1, Needs: []string{"Python_Dateutil==2.8", "numpy==1.24.2"}},
	}
	if !reflect.DeepEqual(r.Distributions, want) || r.LeftOut != 4 || r.ModuleCount != 7 || r.Pages != 104 || r.MS != 15.85 {
		t.Errorf("%+v", r.Summary)
	}
	if m := r.Modules; m[0].Distribution != "" || m[3].Distribution != "numpy==1.24.2" || m[3].MS != 4 || m[3].TotalMS != 7 || !m[6].Function {
		t.Errorf("%+v", m)
	}
	// A driver that tells nothing.
	if r, err := Decode([]byte("{}")); r != nil || err != nil {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestDecodeRefuses: a function can have its driver say anything.
func TestDecodeRefuses(t *testing.T) {
	one := func(row string) string {
		return `{"distributions": [{"name": "a", "version": "1"}], "imports": [` + row + `]}`
	}
	distribution := func(name, version string) string {
		return fmt.Sprintf(`{"distributions": [{"name": %q, "version": %q}], "imports": [["a", 0, 0, 1, 1, 1]]}`, name, version)
	}
	for name, c := range map[string]struct{ doc, want string }{
		"no JSON":         {"{", "EOF"},
		"two documents":   {"{} {}", "text after"},
		"fields":          {one(`["a", 0, 0, 1, 1]`), "5 fields, want 6"},
		"types":           {one(`["a", 0, 0, "1", 1, 1]`), "string"},
		"overflow":        {one(`["a", 0, 0, 1e30, 1, 1]`), "1e30"},
		"control":         {one(`["a\u001b[2J", 0, 0, 1, 1, 1]`), "is not a name"},
		"no name":         {one(`["", 0, 0, 1, 1, 1]`), "is not a name"},
		"long name":       {one(`["` + strings.Repeat("a", 201) + `", 0, 0, 1, 1, 1]`), "is not a name"},
		"no distribution": {one(`["a", 1, 0, 1, 1, 1]`), "distribution 1 of 1"},
		"before all":      {one(`["a", -3, 0, 1, 1, 1]`), "distribution -3"},
		"depth":           {one(`["a", 0, -1, 1, 1, 1]`), "depth -1"},
		"time":            {one(`["a", 0, 0, -1, 1, 1]`), "took -1"},
		"years":           {one(`["a", 0, 0, 1, 9000000000, 1]`), "9000000000 microseconds"},
		"pages":           {one(`["a", 0, 0, 1, 1, 9000000000]`), "9000000000 pages"},
		"too many":        {one(strings.Repeat(`["a", 0, 0, 1, 1, 1],`, MaxModules) + `["a", 0, 0, 1, 1, 1]`), "2049 modules (at most 2048)"},
		"10^5":            {one(strings.Repeat(`["a", 0, 0, 1, 1, 1],`, 100_000) + `["a", 0, 0, 1, 1, 1]`), "at most"},
		"comma":           {distribution("a,b", "1"), "is not NAME==VERSION"},
		"equals":          {distribution("a==2", "1"), "is not NAME==VERSION"},
		"no version":      {distribution("a", ""), "is not NAME==VERSION"},
		"long version":    {distribution("a", strings.Repeat("1", 129)), "is not NAME==VERSION"},
		"twice":           {`{"distributions": [{"name": "a", "version": "1"}, {"name": "a", "version": "1"}], "imports": []}`, "there twice"},
		"left out":        {`{"left_out": -1}`, "-1 left out"},
	} {
		if r, err := Decode([]byte(c.doc)); err == nil || !strings.Contains(err.Error(), c.want) || r != nil {
			t.Errorf("%s: %+v, %v; want %q", name, r, err, c.want)
		}
	}
}

// TestRan: what runs import is summed up by means, in the order in which it was seen, and
// bounded.
func TestRan(t *testing.T) {
	decode := func(rows string) *Record {
		t.Helper()
		r, err := Decode([]byte(`{"distributions": [{"name": "a", "version": "1", "requires": []}, {"name": "b", "version": "2", "requires": ["a"]}], "imports": [` + rows + `]}`))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	load, both, one := decode(`["a", 0, 0, 5000, 5000, 1]`), decode(`["a.x", 0, 1, 1000, 1000, 4], ["b", 1, 0, 3000, 4000, 10]`), decode(`["b", 1, 0, 1000, 1000, 20], ["b.y", 1, 0, 1000, 1000, 0]`)
	r := load.Ran(both).Ran(nil).Ran(one)
	want := &Later{Runs: 3, ModuleCount: 3, MS: 2, Distributions: []LaterDistribution{
		{Distribution{Name: "a", Version: "1", MS: 1, TotalMS: 1, Pages: 4, Modules: 1}, 1},
		{Distribution{Name: "b", Version: "2", MS: 2.5, TotalMS: 3, Pages: 15, Modules: 2, Needs: []string{"a==1"}}, 2},
	}}
	if !reflect.DeepEqual(r.Later, want) || !reflect.DeepEqual(r.Distributions, load.Distributions) || r.LaterModules[2].Name != "b.y" {
		t.Errorf("%+v, %+v", r.Later, r)
	}
	if again := r.Ran(both); !reflect.DeepEqual(again, r) {
		t.Errorf("a fourth run counts: %+v", again.Later)
	}
	if load.Later != nil || both.Later != nil {
		t.Error("records were changed")
	}
	var none *Record
	if r := none.Ran(nil); r.Later.Runs != 1 || r.Later.Distributions == nil || r.ModuleCount != 0 {
		t.Errorf("%+v", r)
	}
	// However many names a handler makes up.
	for n := range MaxRuns {
		var rows []string
		for m := range MaxModules {
			rows = append(rows, fmt.Sprintf(`["m%d_%d", -1, 0, 1, 1, 1]`, n, m))
		}
		none = none.Ran(decode(strings.Join(rows, ",")))
	}
	if len(none.LaterModules) != MaxModules || none.Later.ModuleCount != MaxModules {
		t.Errorf("%d modules", len(none.LaterModules))
	}
	var looks Looks
	for n := range 3 {
		looks.Begin(func() int { return LooksLeft(&Summary{Later: &Later{Runs: 1}}) - n })
	}
	if first, second := looks.Next(), looks.Next(); !first || !second || looks.Next() || LooksLeft(nil) != MaxRuns || LooksLeft(&none.Summary) != 0 {
		t.Error("other runs are looked at than the next two")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(told))
	f.Add([]byte("{}"))
	f.Add([]byte(`{"imports": [null, [], ["a", 0, 1048576, 0, 0, 0]]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Decode(b)
		if err != nil || r == nil {
			return
		}
		if len(r.Modules) > MaxModules || len(r.Distributions) > MaxDistributions || r.MS < 0 {
			t.Fatalf("%+v", r.Summary)
		}
		for _, d := range r.Distributions {
			if strings.ContainsAny(d.Pin(), " ,\n\x1b") || strings.Count(d.Pin(), "==") != 1 || d.Modules < 1 {
				t.Fatalf("%+v", d)
			}
		}
		if _, err := json.Marshal(r.Ran(r).Ran(nil)); err != nil {
			t.Fatal(err)
		}
	})
}
