package logs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func openStore(t *testing.T, dir string, change func(*Options)) *Store {
	t.Helper()
	o := Options{Dir: dir}
	if change != nil {
		change(&o)
	}
	s := Open(o)
	t.Cleanup(func() { s.Close(time.Minute) })
	return s
}

func said(text string) Entry {
	return Entry{Time: time.Now(), Kind: Invocation, RequestID: "r-" + text[:min(len(text), 20)], Lines: []Line{{"stdout", text}}}
}

// written waits until n entries are written or lost.
func written(t *testing.T, s *Store, n uint64) {
	t.Helper()
	for range 60_000 {
		if st := s.Stats(); st.Written+st.Lost >= n {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("%+v, want %d", s.Stats(), n)
}

func texts(t *testing.T, s *Store, k Key, q Query) (list []string) {
	t.Helper()
	entries, err := s.Read(k, q)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range entries {
		if i > 0 && e.Seq <= entries[i-1].Seq {
			t.Errorf("number %d follows %d", e.Seq, entries[i-1].Seq)
		}
		for _, l := range e.Lines {
			list = append(list, l.Text)
		}
	}
	return list
}

// What a function printed is in its own log, in order, after a restart too, and in nobody
// else's: neither another function's nor that of one that has its name later.
func TestLogsAreOwn(t *testing.T) {
	dir := t.TempDir()
	keys := []Key{{"a", "1"}, {"a", "2"}, {"b", "1"}, {"a", ""}, {"a.1", ""}, {"../a", "/"}}
	for round := range 2 {
		s := openStore(t, dir, nil)
		for n := range 10 {
			for i, k := range keys {
				s.Add(k, said(fmt.Sprintf("%d of %d in %d", n, i, round)))
			}
		}
		if err := s.Close(time.Minute); err != nil {
			t.Fatal(err)
		}
		if st := s.Stats(); st.Dropped+st.Lost != 0 || st.Written != uint64(10*len(keys)) || st.Bytes == 0 {
			t.Errorf("%+v", st)
		}
		for i, k := range keys {
			var want []string
			for r := range round + 1 {
				for n := range 10 {
					want = append(want, fmt.Sprintf("%d of %d in %d", n, i, r))
				}
			}
			if got := texts(t, s, k, Query{}); strings.Join(got, ",") != strings.Join(want, ",") {
				t.Errorf("%v has %q", k, got)
			}
		}
	}
	list, err := os.ReadDir(filepath.Dir(dir))
	if err != nil || len(list) != 1 {
		t.Errorf("something left the directory: %v, %v", list, err)
	}
	info, err := os.Stat(filepath.Join(dir, keys[0].dir()))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Error(info, err)
	}
}

func TestQuery(t *testing.T) {
	s := openStore(t, t.TempDir(), nil)
	k := Key{"f", "1"}
	began := time.Now()
	for n := range 20 {
		e := said(fmt.Sprint(n))
		e.Time = began.Add(time.Duration(n) * time.Second)
		s.Add(k, e)
	}
	written(t, s, 20)
	all, err := s.Read(k, Query{})
	if err != nil || len(all) != 20 {
		t.Fatal(len(all), err)
	}
	for _, c := range []struct {
		q    Query
		want string
	}{
		{Query{Entries: 3}, "17 18 19"},
		{Query{Since: began.Add(18 * time.Second)}, "18 19"},
		{Query{RequestID: "r-7"}, "7"},
		{Query{After: all[16].Seq}, "17 18 19"},
		{Query{After: all[19].Seq}, ""},
		{Query{RequestID: "nobody"}, ""},
	} {
		if got := strings.Join(texts(t, s, k, c.q), " "); got != c.want {
			t.Errorf("%+v: %q, want %q", c.q, got, c.want)
		}
	}
	if list, err := s.Read(Key{"other", ""}, Query{}); err != nil || list == nil || len(list) != 0 {
		t.Error(list, err)
	}
}

// A log stays within its size, all logs within theirs, and a loud function pays for itself.
func TestBounds(t *testing.T) {
	dir := t.TempDir()
	const each, total = 256 << 10, 600 << 10
	s := openStore(t, dir, func(o *Options) { o.Bytes, o.Total = each, total })
	quiet := Key{"quiet", "1"}
	s.Add(quiet, said("the only line"))
	n := uint64(1)
	for round := range 200 {
		for f := range 4 {
			s.Add(Key{fmt.Sprint("loud", f), "1"}, said(fmt.Sprint(round, " ")+strings.Repeat("x", 10<<10)))
			n++
		}
	}
	written(t, s, n)
	if st := s.Stats(); st.Dropped+st.Lost > 0 || st.Bytes > total {
		t.Errorf("%+v", st)
	}
	sum := int64(0)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if d.Type().IsRegular() {
			info, err := d.Info()
			sum += info.Size()
			return err
		}
		return err
	})
	if err != nil || sum != s.Stats().Bytes {
		t.Errorf("%d bytes, %d are counted: %v", sum, s.Stats().Bytes, err)
	}
	if got := texts(t, s, quiet, Query{}); len(got) != 1 {
		t.Errorf("the quiet one has %q", got)
	}
	for f := range 4 {
		got := texts(t, s, Key{fmt.Sprint("loud", f), "1"}, Query{Entries: MaxEntries})
		if len(got) == 0 || !strings.HasPrefix(got[len(got)-1], "199 ") || len(got)*10<<10 > each {
			t.Errorf("a loud one has %d entries", len(got))
		}
	}
	// An entry that is larger than a segment is cut.
	s.Add(quiet, said(strings.Repeat("\x01", 1<<20)))
	written(t, s, n+1)
	list, err := s.Read(quiet, Query{})
	if err != nil || len(list) != 2 || !list[1].Cut {
		t.Errorf("%d entries, %v", len(list), err)
	}
}

// What is too old goes, and is not shown before it has gone; logs of nobody go.
func TestAge(t *testing.T) {
	dir := t.TempDir()
	k, gone := Key{"f", "1"}, Key{"gone", "1"}
	s := openStore(t, dir, nil)
	for _, k := range []Key{k, gone} {
		old := said("old")
		old.Time = time.Now().Add(-time.Hour)
		s.Add(k, old)
		s.Add(k, said("new"))
	}
	s.Close(time.Minute)
	later := openStore(t, dir, func(o *Options) {
		o.Age = 30 * time.Minute
		o.Known = func(k Key) bool { return k != gone }
	})
	if got := texts(t, later, k, Query{}); strings.Join(got, " ") != "new" {
		t.Errorf("%q", got)
	}
	later.Add(k, said("last"))
	later.Close(time.Minute)
	if _, err := os.Stat(filepath.Join(dir, gone.dir())); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the log of a function that is gone is there:", err)
	}
	last := openStore(t, dir, func(o *Options) { o.Now = func() time.Time { return time.Now().Add(8 * 24 * time.Hour) } })
	last.Close(time.Minute)
	if numbers, err := listSegments(filepath.Join(dir, k.dir())); err != nil || len(numbers) != 0 {
		t.Errorf("%v segments are left, %v", numbers, err)
	}
}

// A service that is killed while it writes leaves a torn end: whatever it is, all that was
// whole is read, and what is written next is too.
func TestTornEnds(t *testing.T) {
	dir := t.TempDir()
	k := Key{"f", "1"}
	s := openStore(t, dir, nil)
	for n := range 3 {
		s.Add(k, said(fmt.Sprint(n)))
	}
	s.Close(time.Minute)
	path := segmentPath(filepath.Join(dir, k.dir()), 1)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, tear := range []func(n int) []byte{
		func(n int) []byte { return whole[:n] },
		func(n int) []byte { return append(bytes.Clone(whole[:n]), make([]byte, len(whole)-n)...) }, // zeros after a power cut
		func(n int) []byte { b := bytes.Clone(whole); b[n] ^= 0x40; return b },
	} {
		for n := 0; n < len(whole); n += 7 {
			torn := tear(n)
			if err := os.WriteFile(path, torn, 0o600); err != nil {
				t.Fatal(err)
			}
			left := 0
			decodeSegment(torn, func(*Entry) bool { left++; return true })
			s := openStore(t, dir, nil)
			s.Add(k, said("after"))
			s.Close(time.Minute)
			got := texts(t, s, k, Query{})
			if len(got) != left+1 || got[left] != "after" {
				t.Fatalf("torn at %d: %q, of which %d were whole", n, got, left)
			}
			for i, text := range got[:left] {
				if text != fmt.Sprint(i) {
					t.Fatalf("torn at %d: %q", n, got)
				}
			}
			for number := uint64(2); os.Remove(segmentPath(filepath.Dir(path), number)) == nil; number++ {
			}
		}
	}
}

// What the disk does not take is dropped and counted, and said in the log when it can be.
func TestDiskRefuses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "logs")
	if err := os.WriteFile(dir, nil, 0o600); err != nil { // a file in the directory's place
		t.Fatal(err)
	}
	var log bytes.Buffer
	k := Key{"f", "1"}
	s := openStore(t, dir, func(o *Options) { o.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	s.Add(k, said("lost"))
	written(t, s, 1)
	if st := s.Stats(); st.Lost != 1 || st.Written != 0 {
		t.Errorf("%+v", st)
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	s.Add(k, said("kept"))
	written(t, s, 2)
	list, err := s.Read(k, Query{})
	if err != nil || len(list) != 1 || list[0].Dropped != 1 || list[0].Lines[0].Text != "kept" {
		t.Errorf("%+v, %v", list, err)
	}
	s.Close(time.Minute)
	if !strings.Contains(log.String(), "function=f") {
		t.Errorf("the service's log does not name it: %s", log.String())
	}
}

// The queue has room for others whatever one function prints, and says what was lost. The
// writer stands still meanwhile.
func TestQueueIsFair(t *testing.T) {
	s := newStore(Options{})
	loud, quiet := Key{"loud", "1"}, Key{"quiet", "1"}
	text := strings.Repeat("x", 1<<20)
	for range 200 {
		s.Add(loud, said(text))
	}
	for range 10 {
		s.Add(quiet, said("line"))
	}
	if s.queued > maxQueued || s.Stats().Dropped < 100 {
		t.Errorf("%d bytes wait, %d were dropped", s.queued, s.Stats().Dropped)
	}
	counts := map[Key]int{}
	var dropped uint64
	order := []Key{}
	for {
		k, batch := s.take()
		if batch == nil {
			break
		}
		order = append(order, k)
		for _, e := range batch {
			counts[k]++
			dropped += e.Dropped
			if e.Kind == Dropped {
				counts[k]--
			}
		}
	}
	if counts[quiet] != 10 || counts[loud]+int(dropped) != 200 || dropped != s.Stats().Dropped {
		t.Errorf("%v, %d dropped", counts, dropped)
	}
	if len(order) < 2 || order[0] != quiet && order[1] != quiet {
		t.Errorf("the quiet one waited: %v", order[:min(len(order), 5)])
	}
	if s.queued != 0 || len(s.queues) != 0 {
		t.Errorf("%d bytes, %d queues are left", s.queued, len(s.queues))
	}
}

// A follower gets what is written, and is cut off, rather than waited for, if it is slow.
func TestFollow(t *testing.T) {
	s := openStore(t, t.TempDir(), nil)
	k := Key{"f", "1"}
	quick, err := s.Follow(k)
	if err != nil {
		t.Fatal(err)
	}
	defer quick.Close()
	slow, err := s.Follow(k)
	if err != nil {
		t.Fatal(err)
	}
	other, err := s.Follow(Key{"g", "1"})
	if err != nil {
		t.Fatal(err)
	}
	for n := range 2 * followerEntries {
		s.Add(k, said(fmt.Sprint(n)))
		e := <-quick.C
		quick.Taken(&e)
		if e.Lines[0].Text != fmt.Sprint(n) || e.Seq == 0 {
			t.Fatalf("%+v, want %d", e, n)
		}
	}
	n := 0
	for range slow.C {
		n++
	}
	if n != followerEntries || !errors.Is(slow.Err(), ErrSlow) || len(other.C) != 0 {
		t.Errorf("%d entries, %v; the other function's follower has %d", n, slow.Err(), len(other.C))
	}
	for {
		f, err := s.Follow(k)
		if err != nil {
			if !errors.Is(err, ErrFollowers) {
				t.Error(err)
			}
			break
		}
		defer f.Close()
		if n++; n > 10*maxFollowers {
			t.Fatal("no bound")
		}
	}
	s.Close(time.Minute)
	if _, open := <-other.C; open || !errors.Is(other.Err(), ErrClosed) {
		t.Error(open, other.Err())
	}
	if _, err := s.Follow(k); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

func FuzzSegment(f *testing.F) {
	e := said("hello")
	e.Seq = 7
	payload, err := e.encode(1 << 20)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(appendFrame([]byte(segmentMagic), payload))
	f.Add([]byte(segmentMagic + "\xff\xff\xff\xff\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var again []byte
		valid := decodeSegment(b, func(e *Entry) bool {
			payload, err := e.encode(maxSegment)
			if err != nil {
				t.Fatal(err)
			}
			again = appendFrame(again, payload)
			return true
		})
		if valid > len(b) {
			t.Fatalf("%d bytes of %d", valid, len(b))
		}
		if n := decodeSegment(append([]byte(segmentMagic), again...), func(*Entry) bool { return true }); n != len(again)+len(segmentMagic) {
			t.Fatal("an entry that was read cannot be written")
		}
	})
}

func FuzzKey(f *testing.F) {
	f.Add("name", "id")
	f.Add("../..", "a.b/c")
	f.Fuzz(func(t *testing.T, function, id string) {
		k := Key{function, id}
		if function == "" {
			return // Add refuses it
		}
		if back, ok := keyOf(k.dir()); !ok || back != k || filepath.Base(k.dir()) != k.dir() || k.dir() == ".." {
			t.Fatalf("%q is %q, %v", k.dir(), back, ok)
		}
	})
}
