package server

import (
	"fmt"
	"net/http"
	"regexp"

	"seuss/dispatcher"
	"seuss/dispatcher/access"
	"seuss/dispatcher/functions"
	"seuss/images/runtimes"
)

// Account and region in the ARNs of functions, where the options name none.
const (
	DefaultRegion  = runtimes.Region
	DefaultAccount = access.DefaultAccount
)

// The forms of a function's name in Lambda's API: name, partial ARN and ARN,
// each with or without a qualifier (API reference, Invoke, FunctionName).
var (
	functionNamePattern = regexp.MustCompile(`^(?:arn:(aws[a-zA-Z-]*):lambda:([a-z0-9-]+):|arn:(aws[a-zA-Z-]*)?:lambda:)?(?:(\d{12}):)?(?:function:)?(?:([a-zA-Z0-9_-]{1,64})/)?([a-zA-Z0-9_-]+)(?::(\$LATEST|[a-zA-Z0-9_-]+))?$`)
	qualifierPattern    = regexp.MustCompile(`^(\$LATEST|[a-zA-Z0-9_-]{1,128})$`)
)

// maxFunctionNameText bounds a name with everything that may stand around it.
const maxFunctionNameText = 256

// FunctionName is what a request calls a function.
type FunctionName struct {
	Key       string // valid as functions.ValidFunction
	Qualifier string // "" if none was given
}

// Deployment is the name as the dispatcher resolves it.
func (f FunctionName) Deployment() string {
	if f.Qualifier == "" {
		return f.Key
	}
	return f.Key + ":" + f.Qualifier
}

// NameOf checks the name in a request's path and the qualifier in its query.
func (s *Server) NameOf(r *http.Request) (FunctionName, error) {
	qualifier := ""
	if r.URL.RawQuery != "" {
		qualifier = r.URL.Query().Get("Qualifier")
	}
	return s.NameIn(r, qualifier)
}

// NameIn checks the name in a request's path; qualifier may be empty. It is as
// ParseFunctionName.
func (s *Server) NameIn(r *http.Request, qualifier string) (FunctionName, error) {
	text := r.PathValue("name")
	if qualifier == "" && functions.ValidName(text) {
		p := PrincipalOf(r)
		return FunctionName{Key: functions.Key(p.Owner, text)}.reached(p)
	}
	return s.ParseFunctionName(r, text, qualifier)
}

// reached is the name where the caller reaches the function.
func (f FunctionName) reached(p *access.Principal) (FunctionName, error) {
	if !p.Reaches(f.Key) {
		return f, fmt.Errorf("%w: %q", dispatcher.ErrUnknownFunction, f.Deployment())
	}
	return f, nil
}

// ParseFunctionName checks a name before anything else sees it: what it returns
// has no character that means something to a file system, or is the slash behind an
// owner. A name without an owner or an account is one of the caller's. What he does not
// reach is an error of dispatcher.ErrUnknownFunction, as what is not there is later.
func (s *Server) ParseFunctionName(r *http.Request, text, qualifier string) (FunctionName, error) {
	m := functionNamePattern.FindStringSubmatch(text)
	if m == nil || len(text) > maxFunctionNameText || !functions.ValidName(m[6]) {
		return FunctionName{}, Validation("functionName", text, functionNamePattern.String())
	}
	region, account, owner := m[2], m[4], m[5]
	p := PrincipalOf(r)
	known := region == "" || region == s.Region
	switch {
	case owner != "" && account != "":
		known = false
	case account != "" && owner == "":
		var ok bool
		owner, ok = s.ownerOf(p, account)
		known = known && ok
	case owner == "":
		owner = p.Owner
	}
	if !known {
		return FunctionName{}, &Refusal{Status: http.StatusNotFound, Code: "ResourceNotFoundException",
			Message: fmt.Sprintf("Function not found: %s: this is region %s, account %s", text, s.Region, s.account(p.Owner))}
	}
	f := FunctionName{Key: functions.Key(owner, m[6]), Qualifier: m[7]}
	switch {
	case qualifier == "":
	case !qualifierPattern.MatchString(qualifier):
		return FunctionName{}, Validation("qualifier", qualifier, qualifierPattern.String())
	case f.Qualifier != "" && f.Qualifier != qualifier:
		return FunctionName{}, InvalidParameter("The derived qualifier from the function name does not match the specified qualifier.")
	default:
		f.Qualifier = qualifier
	}
	return f.reached(p)
}

// ownerOf finds the owner of an account in an ARN.
func (s *Server) ownerOf(p *access.Principal, account string) (owner string, ok bool) {
	switch {
	case account == s.account(p.Owner):
		return p.Owner, true
	case account == s.Account:
		return functions.DefaultOwner, true
	case s.Keys == nil:
		return "", false
	}
	owner, ok = s.Keys.Table().OwnerOf(account)
	return owner, ok && owner != functions.DefaultOwner
}

// account is that of an owner.
func (s *Server) account(owner string) string {
	if owner == functions.DefaultOwner {
		return s.Account
	}
	return access.AccountOf(owner)
}

// ARN is the ARN of a function; qualifier may be empty.
func (s *Server) ARN(key, qualifier string) string {
	return dispatcher.ARN(s.Region, s.account(functions.OwnerOf(key)), functions.NameOf(key), qualifier)
}

// PrincipalOf returns who asks.
func PrincipalOf(r *http.Request) *access.Principal {
	if st := stateOf(r); st != nil && st.principal != nil {
		return st.principal
	}
	return access.Local // past Access
}

// Shown is what the caller calls a function or a deployment.
func Shown(r *http.Request, key string) string { return functions.NameFor(PrincipalOf(r).Owner, key) }
