package functionurl

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"seuss/dispatcher/access"
	"seuss/dispatcher/http/server"
)

// event is a request in payload format 2.0 ("Lambda function URLs", request payload).
type event struct {
	Version   string            `json:"version"`
	RouteKey  string            `json:"routeKey"`
	Path      string            `json:"rawPath"`
	Query     string            `json:"rawQueryString"`
	Cookies   []string          `json:"cookies,omitempty"`
	Headers   map[string]string `json:"headers"`
	Values    map[string]string `json:"queryStringParameters,omitempty"`
	Context   requestContext    `json:"requestContext"`
	Body      *string           `json:"body,omitempty"`
	IsEncoded bool              `json:"isBase64Encoded"`
}

type requestContext struct {
	Account    string      `json:"accountId"`
	API        string      `json:"apiId"`
	Authorizer *authorizer `json:"authorizer,omitempty"`
	Domain     string      `json:"domainName"`
	Prefix     string      `json:"domainPrefix"`
	HTTP       struct {
		Method   string `json:"method"`
		Path     string `json:"path"`
		Protocol string `json:"protocol"`
		Source   string `json:"sourceIp"`
		Agent    string `json:"userAgent"`
	} `json:"http"`
	RequestID string `json:"requestId"`
	RouteKey  string `json:"routeKey"`
	Stage     string `json:"stage"`
	Time      string `json:"time"`
	Epoch     int64  `json:"timeEpoch"` // milliseconds
}

// authorizer says who has signed.
type authorizer struct {
	IAM struct {
		AccessKey string `json:"accessKey"` // the token's name
		Account   string `json:"accountId"`
		Caller    string `json:"callerId"`
		UserARN   string `json:"userArn"`
		UserID    string `json:"userId"`
	} `json:"iam"`
}

const (
	stage     = "$default"
	anonymous = "anonymous"
)

// ofConnection are headers that say how a request is carried, or that become something else
// of the event.
var ofConnection = map[string]bool{
	"Connection": true, "Keep-Alive": true, "Proxy-Authenticate": true, "Proxy-Authorization": true, "Proxy-Connection": true,
	"Te": true, "Trailer": true, "Transfer-Encoding": true, "Upgrade": true, "Cookie": true,
}

// eventOf makes the event of a request; who is nil where nobody has asked who it is.
func eventOf(r *http.Request, host, id string, who *access.Principal, body []byte) ([]byte, error) {
	now := time.Now().UTC()
	path := r.URL.EscapedPath()
	if path == "" {
		path = "/"
	}
	e := event{Version: "2.0", RouteKey: stage, Path: path, Query: r.URL.RawQuery, Headers: map[string]string{"host": r.Host}}
	for name, values := range r.Header {
		switch {
		case ofConnection[name], who != nil && (name == "Authorization" || name == "X-Amz-Security-Token"): // a signature is not the function's
		default:
			e.Headers[strings.ToLower(name)] = strings.Join(values, ",")
		}
	}
	for _, line := range r.Header.Values("Cookie") {
		for c := range strings.SplitSeq(line, ";") {
			if c = strings.TrimSpace(c); c != "" {
				e.Cookies = append(e.Cookies, c)
			}
		}
	}
	query, _ := url.ParseQuery(r.URL.RawQuery) // of what cannot be read the raw text is there
	for name, values := range query {
		if e.Values == nil {
			e.Values = map[string]string{}
		}
		e.Values[name] = strings.Join(values, ",")
	}
	c := &e.Context
	c.Account, c.API, c.Domain, c.Prefix, c.RouteKey, c.Stage, c.RequestID = anonymous, id, host, id, stage, stage, server.RequestIDOf(r)
	c.Time, c.Epoch = now.Format("02/Jan/2006:15:04:05 -0700"), now.UnixMilli()
	c.HTTP.Method, c.HTTP.Path, c.HTTP.Protocol, c.HTTP.Agent = r.Method, path, r.Proto, r.UserAgent()
	c.HTTP.Source, _, _ = net.SplitHostPort(r.RemoteAddr) // "" on a Unix socket
	forwarded := c.HTTP.Source
	if before := e.Headers["x-forwarded-for"]; before != "" && forwarded != "" {
		forwarded = before + ", " + forwarded
	}
	if forwarded != "" {
		e.Headers["x-forwarded-for"] = forwarded
	}
	e.Headers["x-forwarded-proto"] = "http"
	if _, port, err := net.SplitHostPort(r.Host); err == nil {
		e.Headers["x-forwarded-port"] = port
	}
	if who != nil {
		c.Account = access.AccountOf(who.Owner)
		c.Authorizer = &authorizer{}
		iam := &c.Authorizer.IAM
		iam.AccessKey, iam.Account, iam.Caller, iam.UserID, iam.UserARN = who.Name, c.Account, who.Name, who.Name, access.IAMARN(c.Account, "user/"+who.Name)
	}
	if len(body) > 0 {
		text := string(body)
		if e.IsEncoded = !isText(r.Header.Get("Content-Type"), body); e.IsEncoded {
			text = base64.StdEncoding.EncodeToString(body)
		}
		e.Body = &text
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(&e)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// isText reports whether a body goes into the event as it is.
func isText(contentType string, body []byte) bool {
	if !utf8.Valid(body) {
		return false
	}
	kind, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return contentType == ""
	}
	switch kind {
	case "application/json", "application/xml", "application/javascript":
		return true
	}
	return strings.HasPrefix(kind, "text/") || strings.HasPrefix(kind, "application/") && (strings.HasSuffix(kind, "+json") || strings.HasSuffix(kind, "+xml"))
}
