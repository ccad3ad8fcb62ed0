package images

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// add adds an image with one file to a store.
func add(t *testing.T, s Store, name, text string) Info {
	t.Helper()
	info, err := s.Add(context.Background(), Spec{
		Name: name, Kernel: testKernel(), Files: []File{{GuestPath: "/f", Data: []byte(text)}},
	}, AddOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// names lists the files of a store.
func names(t *testing.T, s Store) []string {
	t.Helper()
	entries, err := os.ReadDir(s.Dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func TestStore(t *testing.T) {
	s := Store{Dir: filepath.Join(t.TempDir(), "new", "st[o]re*")}
	if list, err := s.List(); err != nil || len(list) != 0 {
		t.Fatalf("empty store: %v, %v", list, err)
	}
	if _, err := s.Find("a"); !errors.Is(err, ErrNotFound) {
		t.Errorf("find in an empty store: %v", err)
	}
	one := add(t, s, "a", "one")
	two := add(t, s, "a", "two")
	other := add(t, s, "b", "one")
	if again := add(t, s, "b", "one"); again.Digest != other.Digest {
		t.Error("adding the same twice gave two digests")
	}
	want := []string{one.Digest.String() + ".img", two.Digest.String() + ".img", other.Digest.String() + ".img", "a.tag", "b.tag"}
	slices.Sort(want)
	if got := names(t, s); !slices.Equal(got, want) {
		t.Fatalf("store holds %v, want %v", got, want)
	}
	for ref, info := range map[string]Info{
		"a": two, "b": other, one.Digest.String(): one, one.Digest.String()[:minPrefix+4]: one,
	} {
		path, err := s.Find(ref)
		if err != nil || filepath.Base(path) != info.Digest.String()+".img" {
			t.Errorf("Find(%s) = %s, %v", ref, path, err)
		} else if img := reopen(t, path); img.Digest() != info.Digest {
			t.Errorf("Find(%s) leads to digest %v", ref, img.Digest())
		}
	}
	for _, ref := range []string{"", "c", "../a", one.Digest.String()[:minPrefix-1], strings.Repeat("z", 64)} {
		if path, err := s.Find(ref); !errors.Is(err, ErrNotFound) {
			t.Errorf("Find(%q) = %s, %v, want ErrNotFound", ref, path, err)
		}
	}
	list, err := s.List()
	if err != nil || len(list) != 3 {
		t.Fatalf("list %+v, %v", list, err)
	}
	for _, i := range list {
		tags := map[string][]string{two.Digest.String(): {"a"}, other.Digest.String(): {"b"}}[i.Digest]
		st, err := os.Stat(i.Path)
		if err != nil {
			t.Fatal(err)
		}
		if i.Err != nil || !slices.Equal(i.Tags, tags) || i.Bytes != st.Size() || !i.Created.Equal(st.ModTime()) || i.Name == "" {
			t.Errorf("listed %+v, want tags %v", i, tags)
		}
		if st.Mode().Perm() != 0o400 {
			t.Errorf("%s has mode %v", i.Path, st.Mode())
		}
	}
	if err := s.Remove("a"); err != nil {
		t.Fatal(err)
	}
	want = slices.DeleteFunc(want, func(n string) bool { return n == "a.tag" || n == two.Digest.String()+".img" })
	if got := names(t, s); !slices.Equal(got, want) {
		t.Errorf("after removal the store holds %v, want %v", got, want)
	}
	if err := s.Remove("a"); !errors.Is(err, ErrNotFound) {
		t.Errorf("removing twice: %v", err)
	}
}

func TestStoreAmbiguous(t *testing.T) {
	s := Store{Dir: t.TempDir()}
	for _, end := range []string{"0", "1"} {
		if err := os.WriteFile(filepath.Join(s.Dir, strings.Repeat("a", 63)+end+".img"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Find("aaaaaaaa"); !errors.Is(err, ErrAmbiguous) {
		t.Errorf("error is %v", err)
	}
}

// TestStoreFailedAdd: an Add that fails leaves the store as it was.
func TestStoreFailedAdd(t *testing.T) {
	s := Store{Dir: t.TempDir()}
	add(t, s, "a", "one")
	before := names(t, s)
	ctx, cancel := context.WithCancel(context.Background())
	_, err := s.Add(ctx, Spec{Name: "a", Kernel: testKernel(), Files: []File{{GuestPath: "/f", Data: []byte("two")}}},
		AddOptions{Progress: func(int64, int64, string) { cancel() }})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	if _, err := s.Add(context.Background(), Spec{Name: "a/b", Kernel: testKernel()}, AddOptions{}); err == nil {
		t.Error("a name with a slash was accepted")
	}
	lacks := errors.New("it lacks x")
	_, err = s.Add(context.Background(), Spec{Name: "a", Kernel: testKernel(), Files: []File{{GuestPath: "/f", Data: []byte("two")}}, Check: []string{"/f", "x"}},
		AddOptions{Try: func(_ context.Context, img *Image, argv []string) error {
			if _, err := img.Lookup(argv[0]); err != nil || argv[1] != "x" {
				t.Errorf("tried %v: %v", argv, err)
			}
			return lacks
		}})
	if !errors.Is(err, lacks) {
		t.Errorf("error is %v", err)
	}
	if got := names(t, s); !slices.Equal(got, before) {
		t.Errorf("store holds %v, want %v", got, before)
	}
}

func TestStoreDamage(t *testing.T) {
	s := Store{Dir: t.TempDir()}
	good := add(t, s, "a", "one")
	bad := filepath.Join(s.Dir, strings.Repeat("0", 64)+".img")
	if err := os.WriteFile(bad, []byte("garbage, not an image"), 0o644); err != nil {
		t.Fatal(err)
	}
	wrong := filepath.Join(s.Dir, strings.Repeat("1", 64)+".img")
	if err := os.Link(filepath.Join(s.Dir, good.Digest.String()+".img"), wrong); err != nil {
		t.Fatal(err)
	}
	list, err := s.List()
	if err != nil || len(list) != 3 {
		t.Fatalf("list %+v, %v", list, err)
	}
	for _, i := range list {
		want := map[string]error{bad: ErrMagic, wrong: ErrCorrupt}[i.Path]
		if !errors.Is(i.Err, want) || (i.Name == "") != (want != nil) {
			t.Errorf("%s is listed with name %q, error %v, want %v", i.Path, i.Name, i.Err, want)
		}
	}
	if err := s.Remove(strings.Repeat("0", 64)); err != nil {
		t.Errorf("remove a damaged image: %v", err)
	}
	if err := os.WriteFile(filepath.Join(s.Dir, "t.tag"), []byte("../../x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Find("t"); !errors.Is(err, ErrCorrupt) {
		t.Errorf("bad tag: %v", err)
	}
	if err := os.WriteFile(filepath.Join(s.Dir, "t.tag"), []byte(strings.Repeat("2", 64)), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Find("t"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("tag of a missing image: %v", err)
	}
}

// TestStoreStale: only old temporary files are removed.
func TestStoreStale(t *testing.T) {
	s := Store{Dir: t.TempDir()}
	old, young := filepath.Join(s.Dir, ".add-1.tmp"), filepath.Join(s.Dir, ".add-2.tmp")
	for _, p := range []string{old, young} {
		if err := os.WriteFile(p, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	long := time.Now().Add(-2 * staleAge)
	if err := os.Chtimes(old, long, long); err != nil {
		t.Fatal(err)
	}
	add(t, s, "a", "one")
	got := names(t, s)
	if slices.Contains(got, ".add-1.tmp") || !slices.Contains(got, ".add-2.tmp") {
		t.Errorf("store holds %v", got)
	}
}
