package functions

import (
	"crypto/rand"
	"encoding/base32"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Attached is what hangs on one name of a function: on LatestQualifier, an alias, or the
// number of a version.
type Attached struct {
	URL    *URL        `json:"url,omitempty"`
	Events *EventRules `json:"events,omitempty"`
	Grants []Grant     `json:"grants,omitempty"` // in the order in which they came
}

// LatestQualifier is what hangs on the function itself.
const LatestQualifier = "$LATEST"

// Empty reports whether nothing hangs there.
func (a *Attached) Empty() bool { return a.URL == nil && a.Events == nil && len(a.Grants) == 0 }

// Who a URL lets in, and how its answers come; the words are AWS Lambda's.
const (
	AuthNone   = "NONE"    // everybody
	AuthIAM    = "AWS_IAM" // who signs as a token that may invoke the function
	ModeWhole  = "BUFFERED"
	ModeStream = "RESPONSE_STREAM"
)

// URL is a function's own address.
type URL struct {
	ID      string    `json:"id"`             // the first label of its host name; see NewURLID
	Auth    string    `json:"auth"`           // AuthNone or AuthIAM
	Mode    string    `json:"mode,omitempty"` // "": ModeWhole
	CORS    *CORS     `json:"cors,omitempty"`
	Created time.Time `json:"created"`
	Changed time.Time `json:"changed"`
}

// Host is the host name of the address: a machine finds what is below localhost at itself,
// without DNS (RFC 6761).
func (u *URL) Host() string { return u.ID + ".lambda-url.localhost" }

// CORS says which pages of other origins a browser lets at a URL (Fetch standard, "CORS
// protocol"). "*" in a list is any.
type CORS struct {
	Credentials bool     `json:"credentials,omitempty"`
	Headers     []string `json:"headers,omitempty"` // of requests
	Methods     []string `json:"methods,omitempty"`
	Origins     []string `json:"origins,omitempty"`
	Expose      []string `json:"expose,omitempty"` // headers of answers
	MaxAgeSec   int      `json:"max_age_s,omitempty"`
}

// EventRules are what asynchronous events of a name are run by.
type EventRules struct {
	Retries   *int         `json:"retries,omitempty"`   // after a failure; nil: as package events has it
	MaxAgeSec int          `json:"max_age_s,omitempty"` // 0: as package events has it
	OnSuccess *Destination `json:"on_success,omitempty"`
	OnFailure *Destination `json:"on_failure,omitempty"`
	Changed   time.Time    `json:"changed"`
}

// Destination is a function of the same owner that is told what came of an event.
type Destination struct {
	Function string `json:"function"` // its key, with a qualifier or without
	ARN      string `json:"arn"`      // as it was asked for
}

// Grant is a statement of a function's policy.
type Grant struct {
	ID        string `json:"id"`
	Action    string `json:"action"`
	Principal string `json:"principal"` // "*", or an account
	URLAuth   string `json:"url_auth,omitempty"`
	ViaURL    bool   `json:"via_url,omitempty"`
}

// urlIDBytes is the randomness of a URL's id: nobody guesses one.
const urlIDBytes = 20

var urlIDs = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// NewURLID returns an id for a URL: 32 of a-z and 2-7, as a label of a host name.
func NewURLID() string {
	b := make([]byte, urlIDBytes)
	rand.Read(b) // does not fail
	return urlIDs.EncodeToString(b)
}

// urlTarget is whose URL an id is.
type urlTarget struct{ function, qualifier string }

// URLTarget finds whose URL an id is: a function's name and the qualifier that the URL
// hangs on.
func (s *Store) URLTarget(id string) (function, qualifier string, ok bool) {
	v, ok := s.urls.Load(id)
	if !ok {
		return "", "", false
	}
	t := v.(urlTarget)
	return t.function, t.qualifier, true
}

// indexURLs takes over what URLs a record has in place of those of an older one, which may
// be the zero Function. mu is held, or nobody else has the Store yet.
func (s *Store) indexURLs(old, f *Function) {
	for _, a := range old.Attached {
		if a.URL != nil {
			s.urls.Delete(a.URL.ID)
		}
	}
	for qualifier, a := range f.Attached {
		if a.URL != nil {
			s.urls.Store(a.URL.ID, urlTarget{f.Name, qualifier})
		}
	}
}

// maxGrants bounds the statements of one policy: Lambda's 20 KB hold about as many.
const maxGrants = 100

func (f *Function) validateAttached() error {
	if len(f.Attached) > 0 && BaseName(f.Name) != f.Name {
		return fmt.Errorf("something hangs on the version %q, and not on its function", f.Name)
	}
	for qualifier, a := range f.Attached {
		switch {
		case qualifier == "" || strings.ContainsAny(qualifier, ":/"):
			return fmt.Errorf("%q is no qualifier that something hangs on", qualifier)
		case a.URL != nil && (len(a.URL.ID) != urlIDs.EncodedLen(urlIDBytes) || !slices.Contains([]string{AuthNone, AuthIAM}, a.URL.Auth) || !slices.Contains([]string{"", ModeWhole, ModeStream}, a.URL.Mode)):
			return fmt.Errorf("the URL of %q has the id %q, auth %q, mode %q", qualifier, a.URL.ID, a.URL.Auth, a.URL.Mode)
		case len(a.Grants) > maxGrants:
			return fmt.Errorf("the policy of %q has %d statements, at most %d", qualifier, len(a.Grants), maxGrants)
		}
	}
	return nil
}
