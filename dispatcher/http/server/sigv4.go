package httpapi

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// AWS Signature Version 4 ("Signing AWS API requests" in the IAM user guide),
// the server's side, so that AWS's clients reach a service that wants a token:
// the token is their secret access key, the key id is not looked at.
const (
	signatureAlgorithm = "AWS4-HMAC-SHA256"
	maxClockSkew       = 15 * time.Minute
	amzTime            = "20060102T150405Z"
	maxSignedBody      = maxCodeRequest // the largest of Lambda's requests
)

// checkSignature verifies the Authorization header's value. The digest of the
// body is part of what is signed; where the client has sent that digest, the
// body is not read here and not compared with it.
func checkSignature(r *http.Request, authorization, secret string, now time.Time) error {
	fields := map[string]string{}
	for part := range strings.SplitSeq(authorization, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		fields[name] = value
	}
	scope := strings.Split(fields["Credential"], "/") // key id, date, region, service, aws4_request
	date := r.Header.Get("X-Amz-Date")
	at, err := time.Parse(amzTime, date)
	if err != nil || len(scope) != 5 || scope[4] != "aws4_request" || scope[1] != at.Format("20060102") || scope[3] != "lambda" {
		return errUnauthorized
	}
	if at.Before(now.Add(-maxClockSkew)) || at.After(now.Add(maxClockSkew)) {
		return &apiError{status: http.StatusForbidden, code: "InvalidSignatureException", message: "Signature expired: the request is dated " + date}
	}
	signed := strings.Split(fields["SignedHeaders"], ";")
	if !slices.Contains(signed, "host") || !slices.Contains(signed, "x-amz-date") {
		return errUnauthorized
	}
	canonical := canonicalRequest(r, signed)
	sum := sha256.Sum256([]byte(canonical))
	toSign := strings.Join([]string{signatureAlgorithm, date, strings.Join(scope[1:], "/"), hex.EncodeToString(sum[:])}, "\n")
	key := []byte("AWS4" + secret)
	for _, part := range scope[1:] {
		key = sign(key, part)
	}
	if !equal(hex.EncodeToString(sign(key, toSign)), fields["Signature"]) {
		return &apiError{status: http.StatusForbidden, code: "InvalidSignatureException",
			message: "The request signature we calculated does not match the signature you provided. The secret access key must be the service's token."}
	}
	return nil
}

func sign(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// canonicalRequest is the text that a signature is over.
func canonicalRequest(r *http.Request, signed []string) string {
	var b strings.Builder
	b.WriteString(r.Method + "\n")
	// The path as it was sent, each part encoded once more, as every service but
	// S3 has it.
	path := r.URL.EscapedPath()
	if path == "" {
		path = "/"
	}
	for i, part := range strings.Split(path, "/") {
		if i > 0 {
			b.WriteByte('/')
		}
		b.WriteString(awsEscape(part))
	}
	b.WriteByte('\n')
	var query []string
	for name, values := range r.URL.Query() {
		for _, v := range values {
			query = append(query, awsEscape(name)+"="+awsEscape(v))
		}
	}
	slices.Sort(query)
	b.WriteString(strings.Join(query, "&") + "\n")
	for _, name := range signed {
		value := strings.Join(r.Header.Values(name), ",")
		switch name {
		case "host":
			value = r.Host
		case "content-length":
			if value == "" {
				value = contentLength(r)
			}
		}
		b.WriteString(name + ":" + strings.Join(strings.Fields(value), " ") + "\n")
	}
	payload := r.Header.Get("X-Amz-Content-Sha256")
	if payload == "" {
		// Services other than S3 need not send the digest; it is made of the body.
		payload = bodyDigest(r)
	}
	b.WriteString("\n" + strings.Join(signed, ";") + "\n" + payload)
	return b.String()
}

// awsEscape encodes as RFC 3986 has it: all but the unreserved characters.
func awsEscape(s string) string {
	return strings.NewReplacer("+", "%20", "%7E", "~", "*", "%2A").Replace(url.QueryEscape(s))
}

// unsignedBodies bounds the bodies that are read before their signature is known.
var unsignedBodies = make(chan struct{}, 8)

func contentLength(r *http.Request) string { return strconv.FormatInt(r.ContentLength, 10) }

// bodyDigest reads the body, which is put back for the operation to read, and
// returns its SHA-256. A body beyond every limit cannot be signed.
func bodyDigest(r *http.Request) string {
	// Nothing is known yet of who sends this: few at a time may take memory.
	select {
	case unsignedBodies <- struct{}{}:
		defer func() { <-unsignedBodies }()
	case <-r.Context().Done():
		return ""
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxSignedBody+1))
	if err != nil || len(body) > maxSignedBody {
		return ""
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}
