package oci

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// Errors of package oci, beside those of files and registries.
var (
	// ErrFormat: it breaks the rules of an image.
	ErrFormat = errors.New("not a valid container image")
	// ErrDigest: content is not what its digest says.
	ErrDigest = errors.New("content does not match its digest")
	// ErrPlatform: no variant of it is for linux/amd64.
	ErrPlatform = errors.New("the image is not for linux/amd64")
	// ErrTooLarge: it takes more than is allowed.
	ErrTooLarge = errors.New("too large")
	// ErrStalled: a transfer stood still.
	ErrStalled = errors.New("no data came for too long; try again: layers that are complete are kept")
	// ErrInsecure: a registry would be spoken to without TLS.
	ErrInsecure = errors.New("plain HTTP is for loopback only")
)

// explain says what a failure of a registry means, in one line, and what to do.
func explain(ctx context.Context, host string, err error) error {
	if cause := context.Cause(ctx); errors.Is(cause, ErrStalled) {
		return cause
	}
	var answer *transport.Error
	var certificate *tls.CertificateVerificationError
	var dial *net.OpError
	var dns *net.DNSError
	switch {
	case err == nil || errors.Is(err, ErrInsecure) || errors.Is(err, ErrTooLarge) || errors.Is(err, ErrDigest):
		return err
	case errors.As(err, &answer):
		switch answer.StatusCode {
		case http.StatusUnauthorized, http.StatusForbidden:
			return fmt.Errorf("registry %s refuses access (status %d); log in with: docker login %s", host, answer.StatusCode, host)
		case http.StatusNotFound:
			return fmt.Errorf("registry %s has no such image; check its name and tag", host)
		case http.StatusTooManyRequests:
			return fmt.Errorf("registry %s wants fewer requests (status 429); log in with: docker login %s, or try later", host, host)
		}
		return fmt.Errorf("registry %s answers with status %d (%s); try later", host, answer.StatusCode, http.StatusText(answer.StatusCode))
	case strings.Contains(err.Error(), "error verifying sha256 checksum"): // an internal type of the library
		return fmt.Errorf("registry %s sends other content than its digest says: %w", host, ErrDigest)
	case errors.As(err, &certificate):
		return fmt.Errorf("registry %s: its certificate is not trusted (%w); add the authority to the system's, or name it with --insecure-registry %s", host, certificate.Err, host)
	case errors.As(err, &dns):
		return fmt.Errorf("registry %s: there is no such host", host)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("registry %s is down: connection refused", host)
	case errors.As(err, &dial) && dial.Op == "dial":
		return fmt.Errorf("registry %s cannot be reached: %w", host, dial.Err)
	case errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET):
		return fmt.Errorf("registry %s broke off the transfer; try again: layers that are complete are kept", host)
	}
	return fmt.Errorf("registry %s: %w", host, err)
}
