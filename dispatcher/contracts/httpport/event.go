package httpport

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"seuss/dispatcher/contracts"
	"seuss/lineage"
)

// event is what of payload format 2.0 makes a request.
type event struct {
	Version        string            `json:"version"`
	RawPath        string            `json:"rawPath"`
	RawQueryString string            `json:"rawQueryString"`
	Headers        map[string]string `json:"headers"`
	Cookies        []string          `json:"cookies"`
	Body           string            `json:"body"`
	IsBase64       bool              `json:"isBase64Encoded"`
	RequestContext struct {
		HTTP struct {
			Method string `json:"method"`
		} `json:"http"`
	} `json:"requestContext"`
}

// eventAnswer is what becomes of the answer.
type eventAnswer struct {
	StatusCode int               `json:"statusCode"`
	Headers    map[string]string `json:"headers"`
	Cookies    []string          `json:"cookies,omitempty"`
	Body       string            `json:"body"`
	IsBase64   bool              `json:"isBase64Encoded"`
}

func decodeEvent(raw []byte) (e event, err error) {
	if err = json.Unmarshal(raw, &e); err != nil || e.Version != "2.0" || e.RequestContext.HTTP.Method == "" || !strings.HasPrefix(e.RawPath, "/") {
		return e, fmt.Errorf("the function takes HTTP requests, at its address or as an event in payload format 2.0 (version, rawPath, requestContext.http.method); this event is none: %w", lineage.ErrInvalid)
	}
	return e, nil
}

func (e *event) exchange(ctx context.Context, call *contracts.Call, dial contracts.Dial, port uint16) ([]byte, error) {
	body := []byte(e.Body)
	if e.IsBase64 {
		var err error
		if body, err = base64.StdEncoding.DecodeString(e.Body); err != nil {
			return nil, fmt.Errorf("body of the event: %w: %w", err, lineage.ErrInvalid)
		}
	}
	target := "http://" + local(port) + e.RawPath
	if e.RawQueryString != "" {
		target += "?" + e.RawQueryString
	}
	r, err := http.NewRequestWithContext(ctx, e.RequestContext.HTTP.Method, target, strings.NewReader(string(body)))
	if err != nil {
		return nil, fmt.Errorf("request of the event: %w: %w", err, lineage.ErrInvalid)
	}
	for name, value := range e.Headers {
		switch http.CanonicalHeaderKey(name) {
		case "Host":
			r.Host = value
		case "Connection", "Content-Length", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade":
		default:
			r.Header.Set(name, value)
		}
	}
	if len(e.Cookies) > 0 {
		r.Header.Set("Cookie", strings.Join(e.Cookies, "; "))
	}
	r.Header.Set(HeaderRequestID, call.RequestID)
	r.Header.Set(HeaderDeadline, strconv.FormatInt(call.Deadline.UnixMilli(), 10))
	answer, err := transport(dial).RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(io.LimitReader(answer.Body, contracts.MaxAnswerBytes+1))
	if err != nil {
		return nil, err
	}
	if len(content) > contracts.MaxAnswerBytes {
		return nil, contracts.TooLarge()
	}
	out := eventAnswer{StatusCode: answer.StatusCode, Headers: map[string]string{}, Body: string(content), Cookies: answer.Header.Values("Set-Cookie")}
	for name, values := range answer.Header {
		if name != "Set-Cookie" {
			out.Headers[strings.ToLower(name)] = strings.Join(values, ",")
		}
	}
	if !utf8.Valid(content) {
		out.Body, out.IsBase64 = base64.StdEncoding.EncodeToString(content), true
	}
	return json.Marshal(out)
}
