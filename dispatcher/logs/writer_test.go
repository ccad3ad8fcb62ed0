package logs

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// An entry that is too large is cut, whatever of it is large, and its followers get what its
// readers find; one that cannot be cut is lost, counted as that alone, and said.
func TestEntriesThatAreTooLarge(t *testing.T) {
	s := openStore(t, t.TempDir(), func(o *Options) { o.Bytes = MinBytes })
	k := Key{"f", "1"}
	f, err := s.Follow(k)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	long := strings.Repeat("<é\x01\n\xff\u2028", 20_000)
	lines, trace := make([]Line, 20_000), make([]string, 1024)
	for i := range lines {
		lines[i] = Line{"stdout", "x"}
	}
	for i := range trace {
		trace[i] = long[:256]
	}
	list := []Entry{
		{Lines: lines},
		{Lines: []Line{{"stdout", "first"}, {"stderr", long}, {"stdout", "last"}}},
		{Lines: []Line{{"stdout", "first"}}, Error: &Error{"E", long, trace}},
		{Error: &Error{long, "m", nil}},
		{Note: long},
		{Lines: lines, Error: &Error{long, long, trace}, Note: long},
	}
	for i := range list {
		list[i].Time, list[i].Kind = time.Now(), Invocation
		s.Add(k, list[i])
	}
	lost := said("lost")
	lost.RequestID = long
	s.Add(k, lost)
	s.Add(k, said("after"))
	written(t, s, uint64(len(list)+2))
	if st := s.Stats(); st.Written != uint64(len(list)+1) || st.Lost != 1 {
		t.Errorf("%+v", st)
	}
	got, err := s.Read(k, Query{})
	if err != nil || len(got) < 4 { // as many as 64 KiB take
		t.Fatalf("%d entries: %v", len(got), err)
	}
	last := got[len(got)-1]
	for i, e := range got[:len(got)-1] {
		want := list[len(list)-len(got)+1+i]
		if !e.Cut || (e.Note == "") != (want.Note == "") || (e.Error == nil) != (want.Error == nil) || (len(e.Lines) == 0) != (len(want.Lines) == 0) {
			t.Errorf("%d: %.200v", i, e)
		}
	}
	if last.Dropped != 1 || last.Lines[0].Text != "after" {
		t.Errorf("%+v", last)
	}
	for range len(list) + 1 {
		e := <-f.C
		if n := len(fmt.Sprintf("%+v", e)); n > MinBytes {
			t.Errorf("a follower gets %d bytes", n)
		}
		if (e.Seq == last.Seq) != (e.Dropped == 1) {
			t.Errorf("%d: %d were dropped", e.Seq, e.Dropped)
		}
		f.Taken(&e)
	}
	if len(f.C) != 0 || len(lines) != 20_000 || len(trace[0]) != 256 {
		t.Error("a follower got what is in no log, or what was given was changed")
	}
}

// What of a batch was written before the disk refused counts as written, the rest as lost, and
// once: also what the lost ones would have said of others.
func TestBatchThatIsWrittenInPart(t *testing.T) {
	dir := t.TempDir()
	s := newStore(Options{Dir: dir, Bytes: MinBytes})
	w, k := newWriter(s), Key{"f", "1"}
	f, err := s.Follow(k)
	if err != nil {
		t.Fatal(err)
	}
	var batch []Entry
	for n := range 5 {
		e := said(fmt.Sprint(n) + strings.Repeat("x", 10<<10)) // a segment takes one
		e.Dropped = 10
		batch = append(batch, e)
	}
	batch = append(batch, Entry{Time: time.Now(), Kind: Dropped, Dropped: 7})
	third := segmentPath(filepath.Join(dir, k.dir()), 3)
	if err := os.MkdirAll(third, 0o700); err != nil { // something is in its place
		t.Fatal(err)
	}
	w.write(k, batch)
	if st := s.Stats(); st.Written != 2 || st.Lost != 3 || len(f.C) != 2 {
		t.Errorf("%+v, %d told", st, len(f.C))
	}
	w.write(k, []Entry{said("lost" + strings.Repeat("x", 10<<10))})
	if err := os.Remove(third); err != nil {
		t.Fatal(err)
	}
	w.write(k, []Entry{said("kept")})
	if st := s.Stats(); st.Written != 3 || st.Lost != 4 {
		t.Errorf("%+v", st)
	}
	list, err := s.Read(k, Query{})
	if err != nil || len(list) != 3 || list[2].Dropped != 4+3*10+7 {
		t.Errorf("%d entries, the last says %d: %v", len(list), list[len(list)-1].Dropped, err)
	}
}

// An owner leaves others room in the queue, turns, followers and space on the disk, however
// many functions he has.
func TestOwnersShareLogs(t *testing.T) {
	s := newStore(Options{Dir: t.TempDir(), Total: 1 << 20})
	loud := func(n int) Key { return Key{fmt.Sprint("loud/f", n), "1"} }
	quiet := Key{"quiet/f", "1"}
	text := strings.Repeat("x", 1<<20)
	for n := range 200 {
		s.Add(loud(n), said(text))
	}
	for range 10 {
		s.Add(quiet, said(text))
	}
	if n, m := s.owners["loud"].bytes, s.owners["quiet"].bytes; n > maxQueued/2+len(text) || m < 10*len(text) {
		t.Errorf("the loud one has %d bytes of the queue, the quiet one %d", n, m)
	}
	turns := 0
	for range 5 {
		if k, _ := s.take(); k == quiet {
			turns++
		}
	}
	if turns < 2 {
		t.Errorf("the quiet one had %d of 5 turns", turns)
	}
	for {
		if k, _ := s.take(); k == (Key{}) {
			break
		}
	}
	if len(s.owners)+len(s.queues)+s.queued != 0 {
		t.Errorf("%d owners, %d queues, %d bytes are left", len(s.owners), len(s.queues), s.queued)
	}

	n := 0
	for i := range maxFollowers {
		f, err := s.Follow(loud(i))
		if err != nil {
			break
		}
		defer f.Close()
		n++
	}
	f, err := s.Follow(quiet)
	if n != maxFollowers/2 || err != nil {
		t.Fatalf("the loud one has %d followers, the quiet one: %v", n, err)
	}
	f.Close()

	w := newWriter(s)
	w.write(quiet, []Entry{said(text[:100<<10])})
	for n := range 200 {
		w.write(loud(n), []Entry{said(text[:10<<10])})
	}
	if got := texts(t, s, quiet, Query{}); len(got) != 1 || s.Stats().Bytes > 1<<20 {
		t.Errorf("the quiet one has %d entries; %d bytes in all", len(got), s.Stats().Bytes)
	}
	open := 0
	for _, f := range w.files {
		if f.open != nil {
			open++
		}
	}
	if open > maxOpen {
		t.Errorf("%d files are open", open)
	}
}

// What goes first is the largest of the owner who has most, whatever came and went.
func TestRank(t *testing.T) {
	r := rank{byName: map[string]*ownerFiles{}}
	var files []*file
	for n := range 200 {
		files = append(files, &file{key: Key{fmt.Sprintf("o%d/f%d", n%7, n), ""}})
	}
	sums, total := map[string]int64{}, int64(0)
	random := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		f := files[random.IntN(len(files))]
		owner, _, _ := strings.Cut(f.key.Function, "/")
		sums[owner] -= f.bytes
		f.bytes = max(0, random.Int64N(1000)-500)
		sums[owner] += f.bytes
		total += r.count(f)
		first := r.first()
		if first == nil {
			if total != 0 {
				t.Fatalf("none goes first of %d bytes", total)
			}
			continue
		}
		of, _, _ := strings.Cut(first.key.Function, "/")
		all := int64(0)
		for owner, sum := range sums {
			if all += sum; sum > sums[of] {
				t.Fatalf("%s has %d, %s %d", of, sums[of], owner, sum)
			}
		}
		if all != total {
			t.Fatalf("%d bytes, %d are counted", all, total)
		}
		for _, other := range files {
			if strings.HasPrefix(other.key.Function, of+"/") && other.bytes > first.bytes {
				t.Fatalf("%d goes before %d", first.bytes, other.bytes)
			}
		}
	}
}

// A torn end is not forgotten where it could not be cut off at once.
func TestTornEndThatStays(t *testing.T) {
	dir := t.TempDir()
	k := Key{"f", "1"}
	s := openStore(t, dir, nil)
	s.Add(k, said("before"))
	s.Close(time.Minute)
	path := segmentPath(filepath.Join(dir, k.dir()), 1)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	torn := append(bytes.Clone(whole), "torn"...)
	fd, err := unix.MemfdCreate("torn", unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	sealed := os.NewFile(uintptr(fd), "torn")
	defer sealed.Close()
	_, err = sealed.Write(torn)
	_, err2 := unix.FcntlInt(sealed.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK)
	if err := errors.Join(err, err2, os.Remove(path), os.Symlink(fmt.Sprintf("/proc/self/fd/%d", fd), path)); err != nil {
		t.Fatal(err)
	}
	f := &file{key: k, dir: filepath.Dir(path), segments: []segment{{number: 1, bytes: int64(len(torn))}}, bytes: int64(len(torn))}
	if err := f.scan(); !errors.Is(err, unix.EPERM) || f.scanned {
		t.Error("it was cut off:", err)
	}
	if err := errors.Join(os.Remove(path), os.WriteFile(path, torn, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := f.scan(); err != nil || f.bytes != int64(len(whole)) || f.seq == 0 {
		t.Errorf("%v: %d bytes, want %d; number %d", err, f.bytes, len(whole), f.seq)
	}
}

// BenchmarkWrite writes to each of some functions' logs in turn, when all of them take as much
// as they may.
func BenchmarkWrite(b *testing.B) {
	for _, functions := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprint(functions), func(b *testing.B) {
			s := newStore(Options{Dir: b.TempDir(), Total: int64(functions) * 3 << 10})
			w := newWriter(s)
			text := strings.Repeat("x", 1<<10)
			write := func(n int) {
				w.write(Key{fmt.Sprintf("o%d/f%d", n%10, n%functions), "1"}, []Entry{said(text)})
			}
			for n := range 3 * functions {
				write(n)
			}
			n := 0
			for b.Loop() {
				write(n)
				n++
			}
		})
	}
}
