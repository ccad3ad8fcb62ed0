package lambda

import (
	"maps"
	"net/http"
	"slices"
	"time"

	"seuss/dispatcher/functions"
	"seuss/dispatcher/http/server"
)

// urls are the operations on functions' own addresses, which package functionurl serves.
type urls struct{ *door }

func (s urls) routes() map[string]handler {
	return map[string]handler{
		"POST /2021-10-31/functions/{name}/url":   s.create,
		"GET /2021-10-31/functions/{name}/url":    s.get,
		"PUT /2021-10-31/functions/{name}/url":    s.update,
		"DELETE /2021-10-31/functions/{name}/url": s.remove,
		"GET /2021-10-31/functions/{name}/urls":   s.list,
	}
}

// cors is Lambda's Cors.
type cors struct {
	AllowCredentials bool     `json:",omitempty"`
	AllowHeaders     []string `json:",omitempty"`
	AllowMethods     []string `json:",omitempty"`
	AllowOrigins     []string `json:",omitempty"`
	ExposeHeaders    []string `json:",omitempty"`
	MaxAge           int      `json:",omitempty"` // seconds
}

// Limits of it (API reference, Cors).
const (
	maxCORSNames = 100
	maxCORSName  = 1024
	maxCORSAge   = 86400
)

var corsMethods = []string{"GET", "PUT", "HEAD", "POST", "PATCH", "DELETE", "*"}

func (c *cors) record() (*functions.CORS, error) {
	for name, list := range map[string][]string{"allowHeaders": c.AllowHeaders, "allowMethods": c.AllowMethods, "allowOrigins": c.AllowOrigins, "exposeHeaders": c.ExposeHeaders} {
		if len(list) > maxCORSNames {
			return nil, server.InvalidParameter("Cors has %d %s, at most %d are allowed.", len(list), name, maxCORSNames)
		}
		for _, v := range list {
			printable := !slices.ContainsFunc([]byte(v), func(b byte) bool { return b <= ' ' || b > '~' || b == ',' })
			if v == "" || len(v) > maxCORSName || !printable || name == "allowMethods" && !slices.Contains(corsMethods, v) {
				return nil, server.Validation("cors."+name, v, "Member must be a name; methods are among [GET, PUT, HEAD, POST, PATCH, DELETE, *]")
			}
		}
	}
	if c.MaxAge < 0 || c.MaxAge > maxCORSAge {
		return nil, server.Validation("cors.maxAge", itoa(c.MaxAge), "Member must have value between 0 and "+itoa(maxCORSAge))
	}
	r := &functions.CORS{Credentials: c.AllowCredentials, Headers: c.AllowHeaders, Methods: c.AllowMethods, Origins: c.AllowOrigins, Expose: c.ExposeHeaders, MaxAgeSec: c.MaxAge}
	if len(r.Headers)+len(r.Methods)+len(r.Origins)+len(r.Expose) == 0 && !r.Credentials && r.MaxAgeSec == 0 {
		return nil, nil // it allows nothing
	}
	return r, nil
}

// urlConfig is Lambda's FunctionUrlConfig.
type urlConfig struct {
	FunctionUrl      string
	FunctionArn      string
	AuthType         string
	Cors             *cors `json:",omitempty"`
	CreationTime     string
	LastModifiedTime string
	InvokeMode       string
}

func (s urls) config(key, qualifier string, u *functions.URL) *urlConfig {
	c := &urlConfig{
		FunctionUrl: s.FunctionURL(u), FunctionArn: s.ARN(key, ""), AuthType: u.Auth, InvokeMode: u.Mode,
		CreationTime: u.Created.Format(time.RFC3339), LastModifiedTime: u.Changed.Format(time.RFC3339),
	}
	if qualifier != functions.LatestQualifier {
		c.FunctionArn = s.ARN(key, qualifier)
	}
	if u.Mode == "" {
		c.InvokeMode = functions.ModeWhole
	}
	if r := u.CORS; r != nil {
		c.Cors = &cors{r.Credentials, r.Headers, r.Methods, r.Origins, r.Expose, r.MaxAgeSec}
	}
	return c
}

// urlRequest are the fields of CreateFunctionUrlConfig and UpdateFunctionUrlConfig.
type urlRequest struct {
	AuthType   *string
	Cors       *cors
	InvokeMode *string
}

// apply writes the fields that are there.
func (r *urlRequest) apply(u *functions.URL) error {
	if v := r.AuthType; v != nil {
		if *v != functions.AuthNone && *v != functions.AuthIAM {
			return server.Validation("authType", *v, "Member must satisfy enum value set: [NONE, AWS_IAM]")
		}
		u.Auth = *v
	}
	if v := r.InvokeMode; v != nil {
		if *v != functions.ModeWhole && *v != functions.ModeStream {
			return server.Validation("invokeMode", *v, "Member must satisfy enum value set: [BUFFERED, RESPONSE_STREAM]")
		}
		u.Mode = *v
	}
	if r.Cors != nil {
		c, err := r.Cors.record()
		if err != nil {
			return err
		}
		u.CORS = c
	}
	u.Changed = time.Now().UTC().Round(0)
	return nil
}

func (s urls) create(w http.ResponseWriter, r *http.Request) error {
	return s.change(w, r, "CreateFunctionUrlConfig", true)
}

func (s urls) update(w http.ResponseWriter, r *http.Request) error {
	return s.change(w, r, "UpdateFunctionUrlConfig", false)
}

func (s urls) change(w http.ResponseWriter, r *http.Request, operation string, create bool) error {
	at, err := s.urlOf(r)
	if err != nil {
		return err
	}
	var ask urlRequest
	if err := decode(r, maxConfigRequest, operation, &ask); err != nil {
		return err
	}
	if create && ask.AuthType == nil {
		return server.Validation("authType", "null", "Member must not be null")
	}
	var now functions.URL
	_, err = s.Service.Attach(at.key, at.qualifier, "", func(a *functions.Attached) error {
		switch {
		case create && a.URL != nil:
			return &server.Refusal{Status: http.StatusConflict, Code: "ResourceConflictException", Message: "FunctionUrlConfig exists for this Lambda function"}
		case create:
			now = functions.URL{ID: functions.NewURLID(), Created: time.Now().UTC().Round(0)}
		case a.URL == nil:
			return errNoURL
		default:
			now = *a.URL
		}
		if err := ask.apply(&now); err != nil {
			return err
		}
		a.URL = &now
		return nil
	})
	if err != nil {
		return server.Answer(err, at.arn)
	}
	status := http.StatusOK
	if create {
		status = http.StatusCreated
	}
	server.WriteJSON(w, status, s.config(at.key, at.qualifier, &now))
	return nil
}

var errNoURL = &server.Refusal{Status: http.StatusNotFound, Code: "ResourceNotFoundException", Message: "The resource you requested does not exist."}

// urlOf is attachment: an URL hangs on the function or an alias, on no version.
func (s urls) urlOf(r *http.Request) (attachment, error) {
	at, err := s.attachment(r)
	if err == nil && numberPattern.MatchString(at.qualifier) {
		err = server.Validation("qualifier", at.qualifier, `((?!^\d+$)^[0-9a-zA-Z-_]+$)`)
	}
	return at, err
}

func (s urls) get(w http.ResponseWriter, r *http.Request) error {
	at, f, err := s.attached(r)
	if err != nil {
		return err
	}
	u := f.Attached[at.qualifier].URL
	if u == nil {
		return errNoURL
	}
	server.WriteJSON(w, http.StatusOK, s.config(at.key, at.qualifier, u))
	return nil
}

func (s urls) remove(w http.ResponseWriter, r *http.Request) error {
	at, err := s.urlOf(r)
	if err != nil {
		return err
	}
	_, err = s.Service.Attach(at.key, at.qualifier, "", func(a *functions.Attached) error {
		if a.URL == nil {
			return errNoURL
		}
		a.URL = nil
		return nil
	})
	if err != nil {
		return server.Answer(err, at.arn)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s urls) list(w http.ResponseWriter, r *http.Request) error {
	name, err := s.unqualified(r)
	if err != nil {
		return err
	}
	f, err := s.Service.Function(name)
	if err != nil {
		return server.Answer(err, s.ARN(name, ""))
	}
	list := []*urlConfig{}
	for _, qualifier := range slices.Sorted(maps.Keys(f.Attached)) {
		if u := f.Attached[qualifier].URL; u != nil {
			list = append(list, s.config(name, qualifier, u))
		}
	}
	return answerPage(w, r, list, "FunctionUrlConfigs")
}
