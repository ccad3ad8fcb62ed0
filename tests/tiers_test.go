package tests

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"seuss/dispatcher"
	"seuss/dispatcher/tiers"
	"seuss/images"
	"seuss/lineage"
	"seuss/vmm/vmmtest"
)

// TestTierBudgets: each tier is brought back to its own budget, and takes nothing of another's
// but for functions below imports that go; what went is made again when it is needed.
func TestTierBudgets(t *testing.T) {
	t.Parallel()
	packages := map[string]string{"beta": sitePackages["beta"], "gamma": sitePackages["gamma"]}
	dir := withPackages(t, "packages", packages)
	store := images.Store{Dir: filepath.Join(dir, "images")}
	addPackages(t, store, "twin", packages)
	in := func(b tiers.Budgets, f func(l living)) {
		t.Helper()
		d, err := dispatcher.Open(dispatcher.Options{StateDir: dir, Platform: vmmtest.Require(t), TierBytes: b})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		}()
		f(living{t, d})
	}
	count := func(l living) (functions, imports int) {
		return len(l.Store().Kind(lineage.KindFunction)), len(l.Store().Kind(lineage.KindImport))
	}
	in(tiers.Budgets{}, func(l living) {
		l.apply("", "beta", "gamma")
		l.deploy("below", "import beta"+asksNothing, nil)
		l.deploy("base", asksNothing, nil)
		if _, err := l.Base(t.Context(), "twin", ""); err != nil {
			t.Fatal(err)
		}
		if p := l.Stats().Tiers.Packages; p.Misses != 1 || p.Hits == 0 || p.Bytes == 0 {
			t.Errorf("packages: %+v", p)
		}
		if r, err := dispatcher.FitTiers(l.Dispatcher); err != nil || r.Nodes != 0 {
			t.Errorf("without budgets: %+v, %v", r, err)
		}
		if functions, imports := count(l); functions != 2 || imports != 2 {
			t.Errorf("%d functions and %d imports are captured", functions, imports)
		}
	})
	in(tiers.Budgets{Imports: 1}, func(l living) {
		if r, err := dispatcher.FitTiers(l.Dispatcher); err != nil || r.Nodes != 3 {
			t.Errorf("imports: %+v, %v", r, err)
		}
		if functions, imports := count(l); functions != 1 || imports != 0 {
			t.Errorf("imports: %d functions and %d imports are left", functions, imports)
		}
		if tier := l.Stats().Tiers.Imports; tier.Bytes != 0 || tier.Budget != 1 || tier.Removed != 2 {
			t.Errorf("%+v", tier)
		}
		if got := output[string](t, invoke(t, l.Dispatcher, "below", "{}")); got != `["beta"]` || l.above("below") != "beta" {
			t.Errorf("%s below %q", got, l.above("below"))
		}
	})
	in(tiers.Budgets{Handler: 1}, func(l living) {
		if r, err := dispatcher.FitTiers(l.Dispatcher); err != nil || r.Nodes != 2 {
			t.Errorf("handler: %+v, %v", r, err)
		}
		if functions, imports := count(l); functions != 0 || imports != 1 {
			t.Errorf("handler: %d functions and %d imports are left", functions, imports)
		}
	})
	in(tiers.Budgets{Packages: 1}, func(l living) {
		if _, err := dispatcher.FitTiers(l.Dispatcher); !errors.Is(err, tiers.ErrOver) {
			t.Errorf("layers that images name: %v", err)
		}
		layers, err := store.Layers().List()
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"packages", "twin"} {
			if _, err := l.RemoveImage(name, true); err != nil {
				t.Fatal(err)
			}
		}
		old := time.Now().Add(-2 * time.Hour)
		for _, layer := range layers {
			if err := os.Chtimes(store.Layers().Path(layer.Digest), old, old); err != nil {
				t.Fatal(err)
			}
		}
		if r, err := dispatcher.FitTiers(l.Dispatcher); err != nil || r.Layers != len(layers) || l.Stats().Tiers.Packages.Removed != uint64(len(layers)) {
			t.Errorf("layers that nobody names: %+v, %v", r, err)
		}
	})
}
