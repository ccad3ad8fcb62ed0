package httpapi

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
	aliasPattern        = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,128}$`)
	numberPattern       = regexp.MustCompile(`^[0-9]+$`)
)

// maxFunctionNameText bounds a name with everything that may stand around it.
const maxFunctionNameText = 256

// functionName is what a request calls a function.
type functionName struct {
	name      string // valid as functions.ValidName
	qualifier string // "" if none was given
}

// deployment is the name as the dispatcher resolves it.
func (f functionName) deployment() string {
	if f.qualifier == "" {
		return f.name
	}
	return f.name + ":" + f.qualifier
}

// parseFunctionName checks a name before anything else sees it: what it returns
// has no character that means something to a file system.
func (s *Server) parseFunctionName(text, qualifier string) (functionName, error) {
	m := functionNamePattern.FindStringSubmatch(text)
	if m == nil || len(text) > maxFunctionNameText || !functions.ValidName(m[5]) {
		return functionName{}, validation("functionName", text, functionNamePattern.String())
	}
	f := functionName{name: m[5], qualifier: m[6]}
	region, account := m[2], m[4]
	if region != "" && region != s.region || account != "" && account != s.account {
		return functionName{}, &apiError{status: http.StatusNotFound, code: "ResourceNotFoundException",
			message: fmt.Sprintf("Function not found: %s: this is region %s, account %s", text, s.region, s.account)}
	}
	if qualifier == "" {
		return f, nil
	}
	if !qualifierPattern.MatchString(qualifier) {
		return functionName{}, validation("qualifier", qualifier, qualifierPattern.String())
	}
	if f.qualifier != "" && f.qualifier != qualifier {
		return functionName{}, invalidParameter("The derived qualifier from the function name does not match the specified qualifier.")
	}
	f.qualifier = qualifier
	return f, nil
}

// nameOf parses the name in a request's path and the qualifier in its query.
func (s *Server) nameOf(r *http.Request) (functionName, error) {
	return s.parseFunctionName(r.PathValue("name"), r.URL.Query().Get("Qualifier"))
}

// unqualified is nameOf for operations that take no qualifier.
func (s *Server) unqualified(r *http.Request) (string, error) {
	f, err := s.parseFunctionName(r.PathValue("name"), "")
	if err == nil && f.qualifier != "" && f.qualifier != dispatcher.Latest {
		err = invalidParameter("This operation is not permitted on an alias or a version: name the function without a qualifier.")
	}
	return f.name, err
}

// arn is the ARN of a function; qualifier may be empty.
func (s *Server) arn(name, qualifier string) string {
	arn := "arn:aws:lambda:" + s.region + ":" + s.account + ":function:" + name
	if qualifier != "" {
		arn += ":" + qualifier
	}
	return arn
}
