package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"seuss/dispatcher/api"
	"seuss/lineage"
	"seuss/lineage/oci"
)

const (
	// silence is how long the service may say nothing while it works: it says
	// something every few seconds.
	silence = time.Minute
	// exportSilence is how long it may measure an image before it sends it.
	exportSilence = 10 * time.Minute
	// archiveType is the type of an archive's body.
	archiveType = "application/x-tar"
	// maxLine bounds a line of an answer that comes as it is made: the last one may
	// have all faults that are told.
	maxLine = 64 << 20
)

// Inspect implements api.Inspections.
func (c *Client) Inspect(ctx context.Context, ref string) (*api.Inspected, error) {
	return call[*api.Inspected](ctx, c, "GET", snapshotPath(ref)+"/inspect", nil)
}

// Diff implements api.Inspections.
func (c *Client) Diff(ctx context.Context, ask api.Diff) (*api.Difference, error) {
	q := url.Values{"symbols": {strconv.Itoa(ask.Symbols)}}
	if ask.A != "" {
		q.Set("with", ask.A)
	}
	return call[*api.Difference](ctx, c, "GET", snapshotPath(ask.B)+"/diff?"+q.Encode(), nil)
}

// Usage implements api.Inspections.
func (c *Client) Usage(ctx context.Context) (*api.Usage, error) {
	return call[*api.Usage](ctx, c, "GET", "/v1/usage", nil)
}

// RebaseCheck implements api.Inspections.
func (c *Client) RebaseCheck(ctx context.Context, ref, onto string) (lineage.Rebase, error) {
	return call[lineage.Rebase](ctx, c, "GET", snapshotPath(ref)+"/rebase?onto="+url.QueryEscape(onto), nil)
}

// Verify implements api.Inspections.
func (c *Client) Verify(ctx context.Context, refs []string, tell api.Tell) (*api.Verified, error) {
	return follow[api.Verified](ctx, c, "/v1/verify", api.Verify{Snapshots: refs}, tell)
}

// Duplicates implements api.Inspections.
func (c *Client) Duplicates(ctx context.Context, tell api.Tell) (lineage.Duplicates, error) {
	d, err := follow[lineage.Duplicates](ctx, c, "/v1/duplicates", nil, tell)
	if err != nil {
		return lineage.Duplicates{}, err
	}
	return *d, nil
}

// Export implements api.Inspections. What the service sends is kept in a temporary
// directory of the caller's until the image is closed.
func (c *Client) Export(ctx context.Context, ref string, tell func(step string)) (*oci.Bundle, error) {
	ctx, heard, stop := untilSilent(ctx, exportSilence)
	defer stop()
	answer, err := c.open(ctx, "GET", snapshotPath(ref)+"/export", "", nil)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if tell != nil {
		tell("receiving the snapshots")
	}
	b, err := oci.OpenBundle(&heardReader{answer.Body, heard}, 0)
	if err != nil {
		return nil, fmt.Errorf("export %s: %w", ref, whyEnded(ctx, err))
	}
	return b, nil
}

// ListImages implements api.Images.
func (c *Client) ListImages(ctx context.Context) ([]api.Image, error) {
	return call[[]api.Image](ctx, c, "GET", "/v1/images", nil)
}

// follow asks for something that takes long, and reads how far it is until its end.
func follow[T any](ctx context.Context, c *Client, path string, in any, tell api.Tell) (*T, error) {
	ctx, heard, stop := untilSilent(ctx, silence)
	defer stop()
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("ask the daemon: %w", err)
		}
		body = bytes.NewReader(b)
	}
	answer, err := c.open(ctx, "POST", path, "application/json", body)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		heard()
		var p api.Progress[T]
		if err := json.Unmarshal(lines.Bytes(), &p); err != nil {
			return nil, fmt.Errorf("the daemon's answer: %w", err)
		}
		switch {
		case p.Error != nil:
			return nil, p.Error.Err()
		case p.Result != nil:
			return p.Result, nil
		case tell != nil:
			tell(p.Done, p.Total)
		}
	}
	return nil, fmt.Errorf("the daemon's answer: %w", whyEnded(ctx, errors.Join(lines.Err(), io.ErrUnexpectedEOF)))
}

// open sends a request and returns an answer that is no error.
func (c *Client) open(ctx context.Context, method, path, kind string, body io.Reader) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://seuss"+path, body)
	if err != nil {
		return nil, fmt.Errorf("ask the daemon: %w", err)
	}
	if body != nil {
		request.Header.Set("Content-Type", kind)
		if kind == archiveType {
			// Large, and perhaps refused: it is sent when the service wants it.
			request.Header.Set("Expect", "100-continue")
		}
	}
	answer, err := c.http.Do(request)
	if err != nil {
		return nil, fmt.Errorf("ask the daemon: %w", whyEnded(ctx, err))
	}
	if answer.StatusCode < 300 {
		return answer, nil
	}
	defer answer.Body.Close()
	return nil, refusal(answer)
}

// errSilent: the service says nothing any more.
var errSilent = errors.New("the daemon says nothing any more")

// untilSilent is a context that ends when heard was not called for too long, which for
// the first time may be another time.
func untilSilent(ctx context.Context, first time.Duration) (_ context.Context, heard func(), stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	t := time.AfterFunc(first, func() { cancel(errSilent) })
	return ctx, func() { t.Reset(silence) }, func() {
		t.Stop()
		cancel(nil)
	}
}

// whyEnded names the cause where a context's end broke something off.
func whyEnded(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// heardReader says that something was heard.
type heardReader struct {
	io.Reader
	heard func()
}

func (r *heardReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.heard()
	return n, err
}
