package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"seuss/dispatcher/api"
	"seuss/dispatcher/events"
	"seuss/dispatcher/logs"
)

// maxEventLine is the longest line of an event: an entry, whose text JSON may write with
// six bytes for one.
const maxEventLine = 16 << 20

func logsPath(function string, q logs.Query, follow bool) string {
	ask := url.Values{}
	if q.RequestID != "" {
		ask.Set("request", q.RequestID)
	}
	if !q.Since.IsZero() {
		ask.Set("since", q.Since.UTC().Format(time.RFC3339Nano))
	}
	if q.After > 0 {
		ask.Set("after", strconv.FormatUint(q.After, 10))
	}
	if q.Entries > 0 {
		ask.Set("limit", strconv.Itoa(q.Entries))
	}
	if follow {
		ask.Set("follow", "true")
	}
	path := functionPath(function) + "/logs"
	if len(ask) > 0 {
		path += "?" + ask.Encode()
	}
	return path
}

// Logs returns entries of a function's log, oldest first. A version or an alias in the name
// leaves those of the versions that it stands for.
func (c *Client) Logs(ctx context.Context, function string, q logs.Query) ([]logs.Entry, error) {
	return call[[]logs.Entry](ctx, c, "GET", logsPath(function, q, false), nil)
}

// Events returns the asynchronous events of a function that are not done, and those that
// were given up. A qualifier in the name leaves those that were sent to it.
func (c *Client) Events(ctx context.Context, function string) ([]events.Status, error) {
	return call[[]events.Status](ctx, c, "GET", functionPath(function)+"/events", nil)
}

// FollowLogs calls each with entries of a function's log, those that there are and those
// that come, until ctx ends or the daemon ends it: that is an error.
func (c *Client) FollowLogs(ctx context.Context, function string, q logs.Query, each func(logs.Entry) error) error {
	request, err := http.NewRequestWithContext(ctx, "GET", "http://seuss"+logsPath(function, q, true), nil)
	if err != nil {
		return fmt.Errorf("ask the daemon: %w", err)
	}
	answer, err := c.http.Do(request)
	if err != nil {
		return fmt.Errorf("ask the daemon: %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return refusal(answer)
	}
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, maxEventLine)
	kind := ""
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ": ")
		switch {
		case name == "event":
			kind = value
		case name == "data" && kind == "entry":
			var e logs.Entry
			if err := json.Unmarshal([]byte(value), &e); err != nil {
				return fmt.Errorf("the daemon's answer: %w", err)
			}
			if err := each(e); err != nil {
				return err
			}
		case name == "data" && kind == "end":
			var end struct{ Reason string }
			if err := json.Unmarshal([]byte(value), &end); err != nil {
				return fmt.Errorf("the daemon's answer: %w", err)
			}
			return errors.New("the log is followed no more: " + end.Reason)
		}
	}
	if err := lines.Err(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("the daemon's answer: %w", err)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("the daemon's answer: %w", io.ErrUnexpectedEOF)
}

// refusal is the error of an answer that is one.
func refusal(answer *http.Response) error {
	b, err := readAnswer(answer)
	if err != nil {
		return err
	}
	var doc api.Error
	if err := json.Unmarshal(b, &doc); err != nil || doc.Message == "" {
		return fmt.Errorf("the daemon answered %s", answer.Status)
	}
	return doc.Err()
}
