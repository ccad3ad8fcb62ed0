package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"seuss/dispatcher/functionapi"
	"seuss/dispatcher/state"
)

// State is a Client's way to what functions share: all of his owner's.
type State struct{ c *Client }

func valuePath(key string) string { return "/v1/state/" + url.PathEscape(key) }
func pushPath(key string) string  { return "/v1/push/" + url.PathEscape(key) }

// condition is what has to hold for a write, as parameters; Fence is nobody's here.
func condition(c state.If) string {
	if c.Version == nil {
		return ""
	}
	return "?version=" + strconv.FormatUint(*c.Version, 10)
}

// meta is what the answer says of a value.
func meta(answer *http.Response) (m state.Meta, err error) {
	m.Size, err = strconv.ParseInt(answer.Header.Get(functionapi.HeaderSize), 10, 64)
	if err == nil {
		m.Version, err = strconv.ParseUint(answer.Header.Get(functionapi.HeaderVersion), 10, 64)
	}
	if err != nil {
		err = fmt.Errorf("the daemon's answer: %w", err)
	}
	return m, err
}

// about asks for something that is answered with a value's meta.
func (s State) about(ctx context.Context, method, path string, body io.Reader) (m state.Meta, err error) {
	answer, err := s.c.open(ctx, method, path, "application/octet-stream", body)
	if err != nil {
		return m, err
	}
	_, err = io.Copy(io.Discard, answer.Body)
	if err = errors.Join(err, answer.Body.Close()); err != nil {
		return m, fmt.Errorf("the daemon's answer: %w", err)
	}
	return meta(answer)
}

// List lists values, a page of them: those behind after. pushed: what was pushed.
func (s State) List(ctx context.Context, prefix, after string, pushed bool) (functionapi.Items, error) {
	q := url.Values{"prefix": {prefix}, "after": {after}}
	if pushed {
		q.Set("pushed", "")
	}
	return call[functionapi.Items](ctx, s.c, "GET", "/v1/state?"+q.Encode(), nil)
}

// Stat says what there is to know of a value.
func (s State) Stat(ctx context.Context, key string) (state.Meta, error) {
	return s.about(ctx, "GET", valuePath(key)+"?length=0", nil)
}

// Get writes a value to w, range by range. One that is written meanwhile is state.ErrChanged:
// w has a part of it then.
func (s State) Get(ctx context.Context, key string, w io.Writer) (m state.Meta, err error) {
	for at := int64(0); ; {
		now, n, err := s.part(ctx, key, at, w)
		switch {
		case err != nil:
			return m, err
		case at == 0:
			m = now
		case now.Version != m.Version:
			return m, fmt.Errorf("state %q: it was written while it was read: %w", key, state.ErrChanged)
		}
		if at += n; at >= m.Size {
			return m, nil
		}
		if n == 0 {
			return m, fmt.Errorf("state %q: the daemon's answer: %w", key, io.ErrUnexpectedEOF)
		}
	}
}

func (s State) part(ctx context.Context, key string, at int64, w io.Writer) (m state.Meta, n int64, err error) {
	answer, err := s.c.open(ctx, "GET", fmt.Sprintf("%s?offset=%d&length=%d", valuePath(key), at, state.MaxTransfer), "", nil)
	if err != nil {
		return m, 0, err
	}
	n, err = io.Copy(w, answer.Body)
	if err = errors.Join(err, answer.Body.Close()); err != nil {
		return m, n, err
	}
	m, err = meta(answer)
	return m, n, err
}

// Put makes what r has a key's value. What is larger than state.MaxTransfer is written in
// parts, which others see; who writes between them makes it state.ErrChanged.
func (s State) Put(ctx context.Context, key string, r io.Reader, c state.If) (m state.Meta, err error) {
	part := make([]byte, state.MaxTransfer)
	for method := "PUT"; ; method = "POST" {
		n, err := io.ReadFull(r, part)
		last := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !last {
			return m, err
		}
		if n == 0 && method == "POST" {
			return m, nil
		}
		if m, err = s.about(ctx, method, valuePath(key)+condition(c), bytes.NewReader(part[:n])); err != nil || last {
			return m, err
		}
		version := m.Version
		c.Version = &version
	}
}

// Delete removes a value.
func (s State) Delete(ctx context.Context, key string) error {
	_, err := s.about(ctx, "DELETE", valuePath(key), nil)
	return err
}

// Watch waits until a value has another version than one that is known, 0 for none.
func (s State) Watch(ctx context.Context, key string, known uint64) (state.Meta, error) {
	return s.about(ctx, "GET", valuePath(key)+"?known="+strconv.FormatUint(known, 10), nil)
}

// Push has a value kept, Pull makes it what was pushed, Forget drops what was.
func (s State) Push(ctx context.Context, key string) (state.Meta, error) {
	return s.about(ctx, "POST", pushPath(key), nil)
}

// Pull makes a value what was pushed of it last.
func (s State) Pull(ctx context.Context, key string) (state.Meta, error) {
	return s.about(ctx, "POST", "/v1/pull/"+url.PathEscape(key), nil)
}

// Forget drops what was pushed of a key.
func (s State) Forget(ctx context.Context, key string) error {
	_, err := s.about(ctx, "DELETE", pushPath(key), nil)
	return err
}

// Stats are figures of it.
func (s State) Stats(ctx context.Context) (state.Stats, error) {
	return call[state.Stats](ctx, s.c, "GET", "/v1/state/stats", nil)
}
