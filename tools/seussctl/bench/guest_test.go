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
	}{{0, "getpid\t50\nstat\t300.5\n"}, {1, "getpid\t75\nstat\t300.5\n"}, {0, "getpid\t60\n"}, {1, "getpid\t25\n"}} {
		if rows, err = addGuestRows(rows, "C", run.side, run.out); err != nil {
			t.Fatal(err)
		}
	}
	if len(rows) != 2 || rows[0] != (GuestRow{"C", "getpid", 50, 25}) || rows[0].Ratio() != 0.5 || rows[1].Ratio() != 1 {
		t.Errorf("%+v", rows)
	}
	for _, bad := range []string{"getpid", "getpid\tfast", "getpid\t0", "Segmentation fault\n"} {
		if _, err := addGuestRows(nil, "C", 0, bad); err == nil {
			t.Errorf("%q was taken for a figure", bad)
		}
	}
}
