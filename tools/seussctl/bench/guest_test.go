package bench

import "testing"

// TestGuestRows: figures of several runs become one row each, the least of
// either side; what is no figure is an error.
func TestGuestRows(t *testing.T) {
	rows := []GuestRow{}
	var err error
	for _, run := range []struct {
		side int
		out  string
	}{{0, "getpid\t50\t1\nstat\t300.5\n"}, {1, "getpid\t75\nstat\t300.5\n"}, {0, "getpid\t60\n"}, {1, "getpid\t25\n"}} {
		if rows, err = addGuestRows(rows, "C", run.side, run.out); err != nil {
			t.Fatal(err)
		}
	}
	if len(rows) != 2 || rows[0] != (GuestRow{"C", "getpid", 50, 25, 1}) || rows[0].Ratio() != 0.5 || rows[1].Ratio() != 1 {
		t.Errorf("%+v", rows)
	}
	for _, bad := range []string{"getpid", "getpid\tfast", "getpid\t0", "getpid\t5\tmany", "Segmentation fault\n"} {
		if _, err := addGuestRows(nil, "C", 0, bad); err == nil {
			t.Errorf("%q was taken for a figure", bad)
		}
	}
}

// TestGuestExcess: what counts is what calls take beyond calls that do nothing.
func TestGuestExcess(t *testing.T) {
	pipe := GuestRow{"C", "pipe", 400, 2300, 2}
	r := &GuestReport{Rows: []GuestRow{{"C", guestEmpty, 90, 1000, 1}, pipe}}
	if ns, ok := r.Excess(pipe); ns != -100 || !ok {
		t.Errorf("%v, %v", ns, ok)
	}
	slow := GuestRow{"C", guestToMain, 5, 6, 0}
	for row, want := range map[GuestRow][2]bool{pipe: {true, true}, slow: {false, true}, {"C", guestToMain, 6, 5, 0}: {true, true}, r.Rows[0]: {}, {"C", "pipe", 10, 2100, 2}: {false, true}} {
		if met, ok := r.Within(row); met != want[0] || ok != want[1] {
			t.Errorf("%+v: %v, %v", row, met, ok)
		}
	}
	for _, other := range []GuestRow{r.Rows[0], {"C", "memcpy", 1, 1, 0}, {"lua", "pipe", 400, 2300, 2}} {
		if ns, ok := r.Excess(other); ok {
			t.Errorf("%+v: %v", other, ns)
		}
	}
}
