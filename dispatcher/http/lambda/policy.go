package lambda

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"

	"seuss/dispatcher/access"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/http/server"
)

// Actions that a policy can allow here.
const (
	actionInvoke = "lambda:InvokeFunction"
	actionURL    = "lambda:InvokeFunctionUrl"
)

var statementPattern = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,100}$`)

// policies are the operations on the policy of a function, or of a version or an alias of
// it. Tokens say who may do what (package access), so a statement is taken that says what
// is so anyway: a URL with the auth NONE is everybody's, and an account's own functions are
// the account's. Any other would allow nothing, and is refused.
type policies struct{ *door }

func (s policies) routes() map[string]handler {
	return map[string]handler{
		"POST /2015-03-31/functions/{name}/policy":               s.add,
		"GET /2015-03-31/functions/{name}/policy":                s.get,
		"DELETE /2015-03-31/functions/{name}/policy/{statement}": s.remove,
	}
}

// statement is one of a policy, as IAM writes it.
type statement struct {
	Sid       string
	Effect    string
	Principal any
	Action    string
	Resource  string
	Condition map[string]map[string]string `json:",omitempty"`
}

func statementOf(g *functions.Grant, arn string) *statement {
	st := &statement{Sid: g.ID, Effect: "Allow", Principal: g.Principal, Action: g.Action, Resource: arn}
	if g.Principal != "*" {
		st.Principal = map[string]string{"AWS": access.RootARN(g.Principal)}
	}
	switch {
	case g.URLAuth != "":
		st.Condition = map[string]map[string]string{"StringEquals": {"lambda:FunctionUrlAuthType": g.URLAuth}}
	case g.ViaURL:
		st.Condition = map[string]map[string]string{"Bool": {"lambda:InvokedViaFunctionUrl": "true"}}
	}
	return st
}

// permission are the fields of AddPermission.
type permission struct {
	StatementId, Action, Principal string
	FunctionUrlAuthType            string
	InvokedViaFunctionUrl          bool
	RevisionId                     string

	// A condition that nothing here could meet.
	SourceArn, SourceAccount, EventSourceToken, PrincipalOrgID string
}

// grant checks what is to be allowed. account is that of the function's owner.
func (p *permission) grant(account string) (functions.Grant, error) {
	g := functions.Grant{ID: p.StatementId, Action: p.Action, Principal: p.Principal, URLAuth: p.FunctionUrlAuthType, ViaURL: p.InvokedViaFunctionUrl}
	switch {
	case !statementPattern.MatchString(p.StatementId):
		return g, server.Validation("statementId", p.StatementId, statementPattern.String())
	case p.Action != actionInvoke && p.Action != actionURL:
		return g, server.InvalidParameter("Action %.200q is not supported: a statement is about %s or %s; other rights are those of tokens (seussctl token create).", p.Action, actionInvoke, actionURL)
	case p.SourceArn+p.SourceAccount+p.EventSourceToken+p.PrincipalOrgID != "":
		for name, value := range map[string]string{"SourceArn": p.SourceArn, "SourceAccount": p.SourceAccount, "EventSourceToken": p.EventSourceToken, "PrincipalOrgID": p.PrincipalOrgID} {
			if value != "" {
				return g, server.InvalidParameter("%s is not supported: %s.", name, noSources)
			}
		}
	case p.FunctionUrlAuthType != "" && p.Action != actionURL:
		return g, server.InvalidParameter("FunctionUrlAuthType goes with the action %s only.", actionURL)
	case p.InvokedViaFunctionUrl && p.Action != actionInvoke:
		return g, server.InvalidParameter("InvokedViaFunctionUrl goes with the action %s only.", actionInvoke)
	}
	if p.Principal == account || p.Principal == access.RootARN(account) {
		g.Principal = account
		return g, nil
	}
	everybody := p.Principal == "*" && (p.Action == actionURL && p.FunctionUrlAuthType == functions.AuthNone || p.Action == actionInvoke && p.InvokedViaFunctionUrl)
	if !everybody {
		return g, server.InvalidParameter("Principal %.200q is not supported for %s: who may invoke a function is said by tokens (seussctl token create --functions); a statement may name the function's own account, or * for a URL whose auth type is %s.", p.Principal, p.Action, functions.AuthNone)
	}
	return g, nil
}

func (s policies) add(w http.ResponseWriter, r *http.Request) error {
	at, err := s.attachment(r)
	if err != nil {
		return err
	}
	var p permission
	if err := decode(r, maxConfigRequest, "AddPermission", &p); err != nil {
		return err
	}
	g, err := p.grant(s.accountOf(at.key))
	if err != nil {
		return err
	}
	_, err = s.Service.Attach(at.key, at.qualifier, p.RevisionId, func(a *functions.Attached) error {
		if slices.ContainsFunc(a.Grants, func(have functions.Grant) bool { return have.ID == g.ID }) {
			return &server.Refusal{Status: http.StatusConflict, Code: "ResourceConflictException", Message: "The statement id (" + g.ID + ") provided already exists. Please provide a new statement id, or remove the existing statement."}
		}
		a.Grants = append(a.Grants, g)
		return nil
	})
	if err != nil {
		return server.Answer(err, at.arn)
	}
	text, err := json.Marshal(statementOf(&g, at.arn))
	if err != nil {
		return err
	}
	server.WriteJSON(w, http.StatusCreated, struct{ Statement string }{string(text)})
	return nil
}

func (s policies) get(w http.ResponseWriter, r *http.Request) error {
	at, f, err := s.attached(r)
	if err != nil {
		return err
	}
	grants := f.Attached[at.qualifier].Grants
	if len(grants) == 0 {
		return &server.Refusal{Status: http.StatusNotFound, Code: "ResourceNotFoundException", Message: "The resource you requested does not exist: " + at.arn + " has no policy."}
	}
	doc := struct {
		Version, Id string
		Statement   []*statement
	}{Version: "2012-10-17", Id: "default"}
	for i := range grants {
		doc.Statement = append(doc.Statement, statementOf(&grants[i], at.arn))
	}
	text, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	server.WriteJSON(w, http.StatusOK, struct{ Policy, RevisionId string }{string(text), f.Settings.Revision})
	return nil
}

func (s policies) remove(w http.ResponseWriter, r *http.Request) error {
	at, err := s.attachment(r)
	if err != nil {
		return err
	}
	id := r.PathValue("statement")
	_, err = s.Service.Attach(at.key, at.qualifier, r.URL.Query().Get("RevisionId"), func(a *functions.Attached) error {
		before := len(a.Grants)
		a.Grants = slices.DeleteFunc(a.Grants, func(g functions.Grant) bool { return g.ID == id })
		if len(a.Grants) == before {
			return &server.Refusal{Status: http.StatusNotFound, Code: "ResourceNotFoundException", Message: "Statement " + id + " is not found in resource policy."}
		}
		return nil
	})
	if err != nil {
		return server.Answer(err, at.arn)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// accountOf is the account of a function's owner.
func (s policies) accountOf(key string) string {
	if owner := functions.OwnerOf(key); owner != functions.DefaultOwner {
		return access.AccountOf(owner)
	}
	return s.Account
}
