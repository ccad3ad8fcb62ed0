package app

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"seuss/dispatcher"
	"seuss/dispatcher/api"
	"seuss/lineage/oci"
)

// Receive sends the image to the daemon, without what is in its state directory. It
// is read here: the user's files and credentials are none of the daemon's.
func (r *remote) Receive(ctx context.Context, src *oci.Source, tag string) (*dispatcher.Received, error) {
	s := r.Store()
	has := func(id string) bool {
		if s == nil {
			return false
		}
		_, err := s.Get(id)
		return err == nil
	}
	body, w := io.Pipe()
	sent := make(chan error, 1)
	go func() {
		err := src.Send(w, has)
		w.CloseWithError(err)
		sent <- err
	}()
	var doc api.Imported
	err := r.post(ctx, "/v1/import?tag="+url.QueryEscape(tag), body, &doc)
	body.Close()
	if sendErr := <-sent; sendErr != nil && err != nil && sendErr != io.ErrClosedPipe {
		return nil, sendErr // why the body ended
	}
	if err != nil {
		return nil, err
	}
	if err := r.closeStore(); err != nil { // it does not know the new nodes
		return nil, err
	}
	if s = r.Store(); s == nil {
		return nil, errNoRead
	}
	done := &dispatcher.Received{NameTaken: doc.NameTaken}
	done.Bytes, done.Skipped = doc.Bytes, doc.Skipped
	if done.Node, err = s.Get(doc.Node.ID); err != nil {
		return nil, err
	}
	for _, added := range doc.Added {
		n, err := s.Get(added.ID)
		if err != nil {
			return nil, err
		}
		done.Added = append(done.Added, n)
	}
	return done, nil
}

// post sends an archive.
func (r *remote) post(ctx context.Context, path string, body io.Reader, out any) error {
	request, err := http.NewRequestWithContext(ctx, "POST", "http://seuss"+path, body)
	if err != nil {
		return fmt.Errorf("ask the daemon: %w", err)
	}
	request.Header.Set("Content-Type", "application/x-tar")
	return r.do(request, out)
}
