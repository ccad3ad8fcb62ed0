// Package trust tells a cluster's members from everybody else.
//
// They have one secret. It gives the key of a certificate authority (HKDF-SHA-256, then
// Ed25519), which each of them computes for itself, so that a member signs its own
// certificate and nothing has to be handed out. Every connection between members is TLS 1.3
// with a certificate on both sides, on loopback too: whoever shares a host with a member and
// does not have the secret is a stranger.
//
// Members trust each other wholly: who has the secret may call himself anything.
//
// Certificates do not end, since a member whose clock is wrong must not be shut out; another
// secret ends them all.
//
// Units: characters of text. Ownership: an Authority is immutable. Locks: none.
package trust

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"strings"
	"syscall"
	"time"

	"seuss/lineage/sealed"
)

// Limits of a secret.
const (
	// MinSecret is what 192 bits of randomness take in base64.
	MinSecret = 32
	maxSecret = 4096
	// secretBytes of randomness are in one that NewSecret makes.
	secretBytes = 32
)

// ErrSecret: the file's secret cannot be used.
var ErrSecret = errors.New("not a cluster's secret")

// serverName is what a member's certificate is for, whatever its address: members are told
// apart by their names, and reached at addresses that change.
const serverName = "member.cluster.seuss"

// Certificates hold whatever the time is.
var (
	notBefore = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	notAfter  = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC) // RFC 5280, 4.1.2.5: no end
)

// NewSecret makes a secret.
func NewSecret() string {
	b := make([]byte, secretBytes)
	rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}

// others reports whether others than its owner may use a file. Root's file may be read by
// root's group, or by that of this process alone: so services are given secrets (systemd's
// LoadCredential, whose access list shows as the group's mode; volumes of Kubernetes).
func others(st fs.FileInfo) bool {
	perm := st.Mode().Perm()
	if perm&^0o700 == 0o040 {
		owner, ok := st.Sys().(*syscall.Stat_t)
		return !ok || owner.Uid != 0 || owner.Gid != 0 && int(owner.Gid) != os.Getegid()
	}
	return perm&0o077 != 0
}

// ReadFile reads a secret, which nobody but its user may be able to.
func ReadFile(path string) (string, error) {
	st, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if others(st) {
		return "", fmt.Errorf("%s may be used by others (mode %#o): chmod 600 it, and give the cluster another secret if they may have read it: %w", path, st.Mode().Perm(), ErrSecret)
	}
	b, err := sealed.ReadFile(path, maxSecret)
	if err != nil {
		return "", err
	}
	return ReadText(string(b), path)
}

// ReadText reads a secret that stands in a text, which the error calls by a name.
func ReadText(b, name string) (string, error) {
	text := strings.TrimSpace(b)
	if len(text) < MinSecret {
		return "", fmt.Errorf("%s has %d characters, and at least %d are needed, since it is all that keeps others out ('seussctl cluster secret FILE' makes one): %w", name, len(text), MinSecret, ErrSecret)
	}
	return text, nil
}

// Authority signs members' certificates, and checks them.
type Authority struct {
	key  ed25519.PrivateKey
	cert *x509.Certificate
	pool *x509.CertPool
}

// NewAuthority makes the authority of a cluster of that name with that secret: the same on
// each of its members.
func NewAuthority(cluster, secret string) (*Authority, error) {
	if len(secret) < MinSecret {
		return nil, fmt.Errorf("it has %d characters, and at least %d are needed: %w", len(secret), MinSecret, ErrSecret)
	}
	seed, err := hkdf.Key(sha256.New, []byte(secret), nil, "seuss cluster authority 1 "+cluster, ed25519.SeedSize)
	if err != nil {
		return nil, fmt.Errorf("cluster's authority: %w", err)
	}
	key := ed25519.NewKeyFromSeed(seed)
	own := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "seuss cluster " + cluster},
		NotBefore: notBefore, NotAfter: notAfter, IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign,
	}
	cert, err := sign(own, own, key.Public(), key)
	if err != nil {
		return nil, err
	}
	a := &Authority{key: key, cert: cert, pool: x509.NewCertPool()}
	a.pool.AddCert(cert)
	return a, nil
}

func sign(cert, by *x509.Certificate, public any, key ed25519.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, cert, by, public, key)
	if err != nil {
		return nil, fmt.Errorf("certificate of %q: %w", cert.Subject.CommonName, err)
	}
	return x509.ParseCertificate(der)
}

// Member is TLS of a member of that name, to be connected to and to connect to others.
func (a *Authority) Member(name string) (*tls.Config, error) {
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("key of member %q: %w", name, err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("key of member %q: %w", name, err)
	}
	cert, err := sign(&x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, DNSNames: []string{serverName},
		NotBefore: notBefore, NotAfter: notAfter, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert, public, a.key)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: a.pool,
		RootCAs: a.pool, ServerName: serverName,
	}, nil
}

// NameOf is the name of the member at the other end of a connection.
func NameOf(s *tls.ConnectionState) string {
	if s == nil || len(s.VerifiedChains) == 0 {
		return ""
	}
	return s.PeerCertificates[0].Subject.CommonName
}
