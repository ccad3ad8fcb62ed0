package native

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"seuss/dispatcher"
	"seuss/dispatcher/http/server"
	"seuss/lineage/oci"
)

const (
	// importTimeout is for an archive: an image in it may be large.
	importTimeout = time.Hour
	// importAgain is when an import may be tried again that was refused for another.
	importAgain = 10 * time.Second
	// importGrace is how long an archive may take whatever its pace, which has to be
	// importPace bytes a second on the average from then on: nobody keeps others from
	// importing by sending a byte now and then.
	importGrace = time.Minute
	importPace  = 16 << 10
	// drainBytes are read of an archive that was refused, for its client to see the
	// answer: one that waits for "100 Continue" sends nothing.
	drainBytes = 16 << 20
	// reserveBytes of the state directory's disk an import leaves free, but no more
	// than a reservePart of all of it.
	reserveBytes = 1 << 30
	reservePart  = 20
)

// importer has the operation that takes over snapshots. An archive is unpacked in the
// state directory, one at a time.
type importer struct {
	*server.Server
	slot  chan struct{}
	free  func(dir string) (free, all uint64, err error)
	now   func() time.Time
	limit int64
}

func newImporter(on *server.Server) *importer {
	i := &importer{on, make(chan struct{}, 1), on.FreeSpace, time.Now, on.ImportBytes}
	if i.limit <= 0 {
		i.limit = oci.DefaultMaxBytes
	}
	return i
}

// take answers POST /v1/import.
func (s *importer) take(w http.ResponseWriter, r *http.Request) error {
	select {
	case s.slot <- struct{}{}:
		defer func() { <-s.slot }()
	default:
		return &server.Refusal{Status: http.StatusTooManyRequests, RetryAfter: importAgain, Message: "another import is under way, and there is one at a time; try again when it is done"}
	}
	q := r.URL.Query()
	spool, err := s.spool(r)
	if err != nil {
		return err
	}
	server.AllowBody(r, importTimeout)
	body := &paced{Reader: r.Body, now: s.now, start: s.now(), stopping: s.Stopping()}
	over := make(chan struct{})
	defer close(over)
	go func() {
		select {
		case <-s.Stopping(): // a read that waits ends
			http.NewResponseController(w).SetReadDeadline(time.Now())
		case <-over:
		}
	}()
	src, err := spool.OpenArchive(body, q.Get("name"))
	// To the end: a client that still writes would not see the answer.
	if _, readErr := io.CopyN(io.Discard, body, drainBytes); err == nil && !errors.Is(readErr, io.EOF) {
		if readErr == nil {
			readErr = &server.Refusal{Status: http.StatusRequestEntityTooLarge, Message: "more follows the archive's end"}
		}
		err = errors.Join(readErr, src.Close())
	}
	if err != nil {
		return err
	}
	imported, err := s.Service.Receive(r.Context(), src, q.Get("tag"))
	if errors.Is(err, oci.ErrTooLarge) {
		err = fmt.Errorf("%w: see --import-limit of seussctl serve", err)
	}
	return answer(w, http.StatusOK, imported, errors.Join(err, src.Close()))
}

// spool says where an archive goes and how large it may be: what its client declares,
// which is refused here if there is no room for it, the limit if it declares nothing,
// and what the disk has room for when it comes.
func (s *importer) spool(r *http.Request) (oci.Spool, error) {
	declared := max(r.ContentLength, 0)
	if text := r.URL.Query().Get("bytes"); text != "" {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n <= 0 {
			return oci.Spool{}, &server.Refusal{Status: http.StatusBadRequest, Message: "bytes=" + strconv.Quote(text) + ": want the size of the archive's files"}
		}
		declared = n
	}
	if declared > s.limit {
		return oci.Spool{}, &server.Refusal{Status: http.StatusRequestEntityTooLarge,
			Message: fmt.Sprintf("the archive has %d bytes, and at most %d are imported: see --import-limit of seussctl serve", declared, s.limit)}
	}
	room := func(bytes int64) error { return s.room(uint64(bytes)) }
	if err := room(declared); err != nil {
		return oci.Spool{}, err
	}
	dir := filepath.Join(s.Service.StateDir(), dispatcher.SpoolDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return oci.Spool{}, fmt.Errorf("import: %w", err)
	}
	spool := oci.Spool{Dir: dir, MaxBytes: s.limit, Stored: s.limit, Room: room}
	if declared > 0 {
		spool.MaxBytes = declared
	}
	return spool, nil
}

// room refuses bytes that the disk has not, without its reserve.
func (s *importer) room(bytes uint64) error {
	dir := s.Service.StateDir()
	free, all, err := s.free(dir)
	if err != nil {
		return err
	}
	reserve := min(uint64(reserveBytes), all/reservePart)
	if free < reserve || free-reserve < bytes {
		return &server.Refusal{Status: http.StatusInsufficientStorage,
			Message: fmt.Sprintf("import: %d bytes do not fit: the disk of %s has %d free, of which %d are left alone; make room, for instance with seussctl snapshot gc", bytes, dir, free, reserve)}
	}
	return nil
}

// paced is a body that ends where it comes too slowly, and when the service ends.
type paced struct {
	io.Reader
	stopping <-chan struct{}
	now      func() time.Time
	start    time.Time
	bytes    int64
}

func (p *paced) Read(b []byte) (int, error) {
	select {
	case <-p.stopping:
		return 0, fmt.Errorf("import: %w", dispatcher.ErrClosed)
	default:
	}
	n, err := p.Reader.Read(b)
	p.bytes += int64(n)
	if took := p.now().Sub(p.start); err == nil && took > importGrace && p.bytes < int64((took-importGrace).Seconds()*importPace) {
		return n, &server.Refusal{Status: http.StatusRequestTimeout, Message: fmt.Sprintf("import: %d bytes have come in %v, which is too slow: others wait", p.bytes, took.Round(time.Second))}
	}
	return n, err
}
