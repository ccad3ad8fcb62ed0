package servertest

import (
	"bytes"
	"errors"
	"io"
	"net/http"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
)

// HTTPClient is that of AWS's client, for answers that are streamed.
func HTTPClient() *http.Client {
	return &http.Client{Transport: wholeBodies{awshttp.NewBuildableClient().GetTransport()}}
}

// wholeBodies gives a transport the bodies of requests as bytes. AWS's client closes a body
// when the answer has begun; a transport that looks only then whether there was more of it
// takes that for a failure and closes the connection, under an answer that is still streamed.
type wholeBodies struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (t wholeBodies) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		b, err := io.ReadAll(r.Body)
		if err = errors.Join(err, r.Body.Close()); err != nil {
			return nil, err
		}
		r = r.Clone(r.Context())
		r.Body = io.NopCloser(bytes.NewReader(b))
	}
	return t.RoundTripper.RoundTrip(r)
}
