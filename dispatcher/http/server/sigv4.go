package server

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"seuss/dispatcher/access"
)

// AWS Signature Version 4 ("Signing AWS API requests" in the IAM user guide),
// the server's side, so that AWS's clients reach a service that wants a token:
// the token is their secret access key, the key id the token's name.
const (
	signatureAlgorithm = "AWS4-HMAC-SHA256"
	maxClockSkew       = 15 * time.Minute
	amzTime            = "20060102T150405Z"
	maxSignedBody      = 70167211 // the largest of Lambda's requests: UpdateFunctionCode
)

// checkSignature verifies the Authorization header's value. It is over all headers
// that mean something to AWS's services, and over the digest of the body: where the
// client has sent that, the body is compared with it while the operation reads it,
// which does nothing before it has; where not, it is read here.
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
		return &Refusal{Status: http.StatusForbidden, Code: "InvalidSignatureException", credentials: true, Message: "Signature expired: the request is dated " + date}
	}
	signed := strings.Split(fields["SignedHeaders"], ";")
	if !slices.Contains(signed, "host") || !slices.Contains(signed, "x-amz-date") {
		return errUnauthorized
	}
	for name := range r.Header {
		if lower := strings.ToLower(name); strings.HasPrefix(lower, "x-amz-") && !slices.Contains(signed, lower) {
			return &Refusal{Status: http.StatusForbidden, Code: "InvalidSignatureException", credentials: true, Message: "The header " + lower + " is not among those that are signed."}
		}
	}
	digest := r.Header.Get("X-Amz-Content-Sha256")
	switch {
	case digest != "" && !digestPattern.MatchString(digest):
		return &Refusal{Status: http.StatusForbidden, Code: "InvalidSignatureException", credentials: true, Message: "The digest of the body must be signed: x-amz-content-sha256 is " + strconv.Quote(digest)}
	case r.ContentLength == 0 && digest != "" && digest != emptyDigest:
		return errDigest
	case digest != "":
		r.Body = newDigestBody(r.Body, digest)
	default: // services other than S3 need not send it
		if digest, err = bodyDigest(r); err != nil {
			return err
		}
	}
	canonical, err := canonicalRequest(r, signed, digest)
	if err != nil {
		return err
	}
	if !access.Equal(signatureOf(canonical, date, scope[1:], secret), fields["Signature"]) {
		return errSignature
	}
	return nil
}

// signatureOf signs a canonical request. scope is date, region, service, aws4_request.
func signatureOf(canonical, date string, scope []string, secret string) string {
	sum := sha256.Sum256([]byte(canonical))
	toSign := strings.Join([]string{signatureAlgorithm, date, strings.Join(scope, "/"), hex.EncodeToString(sum[:])}, "\n")
	key := []byte("AWS4" + secret)
	for _, part := range scope {
		key = sign(key, part)
	}
	return hex.EncodeToString(sign(key, toSign))
}

var errSignature = &Refusal{Status: http.StatusForbidden, Code: "InvalidSignatureException", credentials: true,
	Message: "The request signature we calculated does not match the signature you provided. The access key id must be the name of a token that signs and the secret access key that token; of the service's own token any name will do."}

// keyID is the access key id in an Authorization header's value.
func keyID(authorization string) string {
	_, credential, _ := strings.Cut(authorization, "Credential=")
	id, _, _ := strings.Cut(credential, "/")
	return id
}

func sign(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// canonicalRequest is the text that a signature is over. A query that is not one in all its
// parts is refused: what is left out here some program may read.
func canonicalRequest(r *http.Request, signed []string, digest string) (string, error) {
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
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return "", &Refusal{Status: http.StatusForbidden, Code: "InvalidSignatureException", credentials: true, Message: "The query cannot be signed: " + err.Error()}
	}
	query := map[string][]string{}
	for name, list := range values {
		name = awsEscape(name)
		for _, v := range list {
			query[name] = append(query[name], name+"="+awsEscape(v))
		}
		slices.Sort(query[name])
	}
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(query)) { // by name, not by pair: "a" is before "a-b", "a=" after "a-b="
		pairs = append(pairs, query[name]...)
	}
	b.WriteString(strings.Join(pairs, "&") + "\n")
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
	b.WriteString("\n" + strings.Join(signed, ";") + "\n" + digest)
	return b.String(), nil
}

// awsEscape encodes as RFC 3986 has it: all but the unreserved characters.
func awsEscape(s string) string {
	return strings.NewReplacer("+", "%20", "%7E", "~", "*", "%2A").Replace(url.QueryEscape(s))
}

// emptyDigest is the SHA-256 of nothing.
const emptyDigest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

var digestPattern = regexp.MustCompile(`^[0-9a-f]{64}$`)

func contentLength(r *http.Request) string { return strconv.FormatInt(r.ContentLength, 10) }

// CheckBody compares a body with the digest that was signed, if one was, before anything of
// it is handed on.
func CheckBody(r *http.Request) error {
	if _, announced := r.Body.(*digestBody); !announced {
		return nil
	}
	_, err := keepBody(r)
	return err
}

// keepBody reads the body, which is kept for the operation. One beyond every limit cannot be
// signed.
func keepBody(r *http.Request) ([]byte, error) {
	body, err := ReadBody(r, maxSignedBody, "signed")
	if err != nil {
		return nil, err
	}
	if st := stateOf(r); st != nil {
		st.body = body
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return body, nil
}

// bodyDigest reads the body and returns its SHA-256.
func bodyDigest(r *http.Request) (string, error) {
	if r.ContentLength == 0 {
		return emptyDigest, nil
	}
	body, err := keepBody(r)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:]), nil
}
