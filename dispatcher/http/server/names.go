package server

import (
	"fmt"
	"net/http"
	"regexp"

	"seuss/dispatcher"
	"seuss/dispatcher/functions"
)

// Account and region in the ARNs of functions, where the options name none.
const (
	DefaultRegion  = "us-east-1"
	DefaultAccount = "000000000000"
)

// The forms of a function's name in Lambda's API: name, partial ARN and ARN,
// each with or without a qualifier (API reference, Invoke, FunctionName).
var (
	functionNamePattern = regexp.MustCompile(`^(?:arn:(aws[a-zA-Z-]*):lambda:([a-z0-9-]+):|arn:(aws[a-zA-Z-]*)?:lambda:)?(?:(\d{12}):)?(?:function:)?([a-zA-Z0-9_-]+)(?::(\$LATEST|[a-zA-Z0-9_-]+))?$`)
	qualifierPattern    = regexp.MustCompile(`^(\$LATEST|[a-zA-Z0-9_-]{1,128})$`)
)

// maxFunctionNameText bounds a name with everything that may stand around it.
const maxFunctionNameText = 256

// FunctionName is what a request calls a function.
type FunctionName struct {
	Name      string // valid as functions.ValidName
	Qualifier string // "" if none was given
}

// Deployment is the name as the dispatcher resolves it.
func (f FunctionName) Deployment() string {
	if f.Qualifier == "" {
		return f.Name
	}
	return f.Name + ":" + f.Qualifier
}

// NameOf checks the name in a request's path and the qualifier in its query.
func (s *Server) NameOf(r *http.Request) (FunctionName, error) {
	text, qualifier := r.PathValue("name"), ""
	if r.URL.RawQuery != "" {
		qualifier = r.URL.Query().Get("Qualifier")
	}
	if qualifier == "" && functions.ValidName(text) {
		return FunctionName{Name: text}, nil
	}
	return s.ParseFunctionName(text, qualifier)
}

// ParseFunctionName checks a name before anything else sees it: what it returns
// has no character that means something to a file system.
func (s *Server) ParseFunctionName(text, qualifier string) (FunctionName, error) {
	m := functionNamePattern.FindStringSubmatch(text)
	if m == nil || len(text) > maxFunctionNameText || !functions.ValidName(m[5]) {
		return FunctionName{}, Validation("functionName", text, functionNamePattern.String())
	}
	f := FunctionName{Name: m[5], Qualifier: m[6]}
	region, account := m[2], m[4]
	if region != "" && region != s.Region || account != "" && account != s.Account {
		return FunctionName{}, &Refusal{Status: http.StatusNotFound, Code: "ResourceNotFoundException",
			Message: fmt.Sprintf("Function not found: %s: this is region %s, account %s", text, s.Region, s.Account)}
	}
	if qualifier == "" {
		return f, nil
	}
	if !qualifierPattern.MatchString(qualifier) {
		return FunctionName{}, Validation("qualifier", qualifier, qualifierPattern.String())
	}
	if f.Qualifier != "" && f.Qualifier != qualifier {
		return FunctionName{}, InvalidParameter("The derived qualifier from the function name does not match the specified qualifier.")
	}
	f.Qualifier = qualifier
	return f, nil
}

// ARN is the ARN of a function; qualifier may be empty.
func (s *Server) ARN(name, qualifier string) string {
	return dispatcher.ARN(s.Region, s.Account, name, qualifier)
}
