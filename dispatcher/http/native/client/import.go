package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"

	"seuss/dispatcher/api"
	"seuss/lineage/oci"
)

// Receive implements api.Captures. It sends the image to the service, without what
// that has. The image is read here: the user's files and credentials are none of
// the service's.
func (c *Client) Receive(ctx context.Context, src *oci.Source, tag string) (*api.Imported, error) {
	was, err := known(ctx, c)
	if err != nil {
		return nil, err
	}
	done, err := receive(ctx, c, src, tag, was)
	if err == nil {
		return done, nil
	}
	now, errNow := known(ctx, c)
	if errNow != nil {
		return nil, err
	}
	for id := range was {
		if !now[id] { // removed meanwhile: what was left out may be needed
			return receive(ctx, c, src, tag, nil)
		}
	}
	return nil, err
}

// known is which nodes are there.
func known(ctx context.Context, c *Client) (map[string]bool, error) {
	list, err := c.Snapshots(ctx)
	if err != nil {
		return nil, err
	}
	known := map[string]bool{}
	for _, n := range list {
		known[n.ID] = true
	}
	return known, nil
}

// receive leaves out the layers of nodes that are known.
func receive(ctx context.Context, c *Client, src *oci.Source, tag string, known map[string]bool) (*api.Imported, error) {
	has := func(id string) bool { return known[id] }
	bytes, err := src.SendBytes(has)
	if err != nil {
		return nil, err
	}
	body, w := io.Pipe()
	sent := make(chan error, 1)
	go func() {
		err := src.Send(w, has)
		w.CloseWithError(err)
		sent <- err
	}()
	done, err := send[*api.Imported](ctx, c, "POST", fmt.Sprintf("/v1/import?tag=%s&bytes=%d", url.QueryEscape(tag), bytes), archiveType, body)
	body.Close()
	if sendErr := <-sent; err != nil && sendErr != nil && !errors.Is(sendErr, io.ErrClosedPipe) {
		return nil, sendErr // why the body ended
	}
	if err != nil {
		return nil, err
	}
	return done, nil
}
