package native

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"seuss/dispatcher/api"
	"seuss/dispatcher/http/server"
	"seuss/dispatcher/instances"
	"seuss/lineage"
	"seuss/lineage/oci"
)

const (
	// maxInspecting bounds the requests that read much of the store at a time: they
	// take the disk's and a processor's time from invocations.
	maxInspecting = 2
	// inspectAgain is when one that was refused for that may come again.
	inspectAgain = 5 * time.Second
	// maxSymbols bounds those of one answer.
	maxSymbols = 10_000
)

// inspector has the operations that look into snapshots.
type inspector struct {
	*server.Server
	readers chan struct{} // one for each request that reads much of the store
}

func newInspector(on *server.Server) *inspector {
	return &inspector{on, make(chan struct{}, maxInspecting)}
}

// reading lets f read much of the store, unless as many do as may.
func (s *inspector) reading(f func() error) error {
	select {
	case s.readers <- struct{}{}:
		defer func() { <-s.readers }()
		return f()
	default:
		return &server.Refusal{Status: http.StatusTooManyRequests, RetryAfter: inspectAgain,
			Message: strconv.Itoa(maxInspecting) + " requests look into the snapshots already; ask again when one of them is done"}
	}
}

func (s *inspector) inspect(w http.ResponseWriter, r *http.Request) error {
	doc, err := s.Service.Inspect(r.Context(), r.PathValue("id"))
	return answer(w, http.StatusOK, doc, err)
}

func (s *inspector) diff(w http.ResponseWriter, r *http.Request) error {
	ask, err := diffOf(r)
	if err != nil {
		return err
	}
	ask.A, ask.B = r.URL.Query().Get("with"), r.PathValue("id")
	return s.reading(func() error {
		doc, err := s.Service.Diff(r.Context(), ask)
		return answer(w, http.StatusOK, doc, err)
	})
}

// diffOf reads how much a request wants of a difference.
func diffOf(r *http.Request) (api.Diff, error) {
	ask := api.Diff{Symbols: 20}
	if text := r.URL.Query().Get("symbols"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 || n > maxSymbols {
			return ask, &server.Refusal{Status: http.StatusBadRequest, Message: "symbols=" + strconv.Quote(text) + ": want a number from 0 to " + strconv.Itoa(maxSymbols)}
		}
		ask.Symbols = n
	}
	return ask, nil
}

// diffLive says where an instance's memory differs from that of another, or of a snapshot:
// ?with=, an instance's name before any other; without it the one that it began as, or was
// checkpointed at or rolled back to last.
func (s *inspector) diffLive(l live, w http.ResponseWriter, r *http.Request) error {
	ask, err := diffOf(r)
	if err != nil {
		return err
	}
	i, err := l.find(r)
	if err != nil {
		return err
	}
	ask.B, ask.A = r.PathValue("name"), i.Info().Node
	var other *instances.Instance
	if with := r.URL.Query().Get("with"); with != "" {
		if other, err = l.named(r, with); err == nil {
			ask.A = with
		} else if n, none := l.snapshot(r, with); none == nil {
			ask.A = n.ID
		} else {
			return fmt.Errorf("%w; nor is it a snapshot: %w", err, none)
		}
	}
	b, err := i.Memory(r.Context()) // once it rests: nobody else waits for that
	if err != nil {
		return err
	}
	ask.OfB = &b
	if other != nil {
		a, err := other.Memory(r.Context())
		if err != nil {
			return err
		}
		ask.OfA = &a
	}
	return s.reading(func() error {
		doc, err := s.Service.Diff(r.Context(), ask)
		return answer(w, http.StatusOK, doc, err)
	})
}

func (s *inspector) usage(w http.ResponseWriter, r *http.Request) error {
	return s.reading(func() error {
		doc, err := s.Service.Usage(r.Context())
		return answer(w, http.StatusOK, doc, err)
	})
}

func (s *inspector) rebase(w http.ResponseWriter, r *http.Request) error {
	return s.reading(func() error {
		doc, err := s.Service.RebaseCheck(r.Context(), r.PathValue("id"), r.URL.Query().Get("onto"))
		return answer(w, http.StatusOK, doc, err)
	})
}

func (s *inspector) verify(w http.ResponseWriter, r *http.Request) error {
	var in api.Verify
	if err := read(r, maxSmallRequest, &in); err != nil {
		return err
	}
	return s.reading(func() error {
		return stream(s.Server, w, r, func(ctx context.Context, tell api.Tell) (*api.Verified, error) {
			return s.Service.Verify(ctx, in.Snapshots, tell)
		})
	})
}

func (s *inspector) duplicates(w http.ResponseWriter, r *http.Request) error {
	return s.reading(func() error {
		return stream(s.Server, w, r, func(ctx context.Context, tell api.Tell) (*lineage.Duplicates, error) {
			d, err := s.Service.Duplicates(ctx, tell)
			return &d, err
		})
	})
}

// export sends a snapshot and its ancestors as the archive that
// importer.take takes, made as it is read.
func (s *inspector) export(w http.ResponseWriter, r *http.Request) error {
	return s.reading(func() error {
		b, err := s.Service.Export(r.Context(), r.PathValue("id"), nil)
		if err != nil {
			return err
		}
		w.Header().Set("Content-Type", "application/x-tar")
		if err := oci.Stream(w, b); err != nil {
			s.Log.Warn("an export ended early", "request_id", server.RequestIDOf(r), "error", err)
			panic(http.ErrAbortHandler) // a client must not take half of it for all
		}
		return nil
	})
}

func (s *inspector) images(w http.ResponseWriter, r *http.Request) error {
	list, err := s.Service.ListImages(r.Context())
	return answer(w, http.StatusOK, list, err)
}
