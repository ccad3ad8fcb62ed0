package lambda

import (
	"maps"
	"net/http"
	"slices"

	"seuss/dispatcher"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/http/server"
)

func (s *door) publishVersion(w http.ResponseWriter, r *http.Request) error {
	name, err := s.unqualified(r)
	if err != nil {
		return err
	}
	var p struct {
		CodeSha256  string
		Description *string
		RevisionId  string
		PublishTo   string
	}
	if err := decode(r, maxConfigRequest, "PublishVersion", &p); err != nil {
		return err
	}
	if err := notPublished(p.PublishTo); err != nil {
		return err
	}
	if p.Description != nil && len(*p.Description) > maxDescription {
		return server.InvalidParameter("Description has %d characters, at most %d are allowed.", len(*p.Description), maxDescription)
	}
	f, err := s.Service.Publish(name, p.RevisionId, p.CodeSha256, p.Description)
	if err != nil {
		return server.Answer(err, s.ARN(name, ""))
	}
	server.WriteJSON(w, http.StatusCreated, s.configuration(&f, dispatcher.VersionOf(f.Name)))
	return nil
}

func (s *door) listVersions(w http.ResponseWriter, r *http.Request) error {
	name, err := s.unqualified(r)
	if err != nil {
		return err
	}
	versions, err := s.Service.Versions(name)
	if err != nil {
		return server.Answer(err, s.ARN(name, ""))
	}
	return s.answerList(w, r, versions, "Versions", true)
}

// aliasConfiguration is Lambda's AliasConfiguration.
type aliasConfiguration struct {
	AliasArn        string
	Name            string
	FunctionVersion string
	Description     string
	RoutingConfig   *routingConfig `json:",omitempty"`
	RevisionId      string
}

type routingConfig struct{ AdditionalVersionWeights map[string]float64 }

func (s *door) aliasAnswer(function, name string, a *functions.Alias) *aliasConfiguration {
	c := &aliasConfiguration{
		AliasArn: s.ARN(function, name), Name: name, FunctionVersion: a.Version, Description: a.Description, RevisionId: a.Revision,
	}
	if len(a.Weights) > 0 {
		c.RoutingConfig = &routingConfig{a.Weights}
	}
	return c
}

// aliasRequest are the fields of CreateAlias and UpdateAlias.
type aliasRequest struct {
	Name            string
	FunctionVersion *string
	Description     *string
	RoutingConfig   *routingConfig
	RevisionId      string
}

func checkAliasName(name string) error {
	if !aliasPattern.MatchString(name) || numberPattern.MatchString(name) {
		return server.Validation("name", name, `(?!^[0-9]+$)([a-zA-Z0-9-_]+)`)
	}
	return nil
}

func (s *door) createAlias(w http.ResponseWriter, r *http.Request) error {
	name, err := s.unqualified(r)
	if err != nil {
		return err
	}
	var a aliasRequest
	if err := decode(r, maxConfigRequest, "CreateAlias", &a); err != nil {
		return err
	}
	if a.FunctionVersion == nil {
		return server.InvalidParameter("FunctionVersion is required.")
	}
	return s.putAlias(w, name, a.Name, &a, true)
}

func (s *door) updateAlias(w http.ResponseWriter, r *http.Request) error {
	name, err := s.unqualified(r)
	if err != nil {
		return err
	}
	var a aliasRequest
	if err := decode(r, maxConfigRequest, "UpdateAlias", &a); err != nil {
		return err
	}
	return s.putAlias(w, name, r.PathValue("alias"), &a, false)
}

func (s *door) putAlias(w http.ResponseWriter, function, name string, a *aliasRequest, create bool) error {
	if err := checkAliasName(name); err != nil {
		return err
	}
	versions := []string{}
	if a.FunctionVersion != nil {
		versions = append(versions, *a.FunctionVersion)
	}
	if a.RoutingConfig != nil {
		versions = slices.AppendSeq(versions, maps.Keys(a.RoutingConfig.AdditionalVersionWeights))
	}
	for _, v := range versions {
		if v != dispatcher.Latest && !functions.ValidDeploymentName(function+":"+v) {
			return server.Validation("functionVersion", v, `(\$LATEST|[0-9]+)`)
		}
	}
	if a.Description != nil && len(*a.Description) > maxDescription {
		return server.InvalidParameter("Description has %d characters, at most %d are allowed.", len(*a.Description), maxDescription)
	}
	alias, err := s.Service.PutAlias(function, name, create, a.RevisionId, func(alias *functions.Alias) {
		if a.FunctionVersion != nil {
			alias.Version = *a.FunctionVersion
		}
		if a.Description != nil {
			alias.Description = *a.Description
		}
		if a.RoutingConfig != nil {
			alias.Weights = a.RoutingConfig.AdditionalVersionWeights
		}
	})
	if err != nil {
		return server.Answer(err, s.ARN(function, name))
	}
	status := http.StatusOK
	if create {
		status = http.StatusCreated
	}
	server.WriteJSON(w, status, s.aliasAnswer(function, name, &alias))
	return nil
}

// aliasOf finds the alias that a request's path names.
func (s *door) aliasOf(r *http.Request) (function, name string, a functions.Alias, err error) {
	if function, err = s.unqualified(r); err != nil {
		return
	}
	name = r.PathValue("alias")
	if err = checkAliasName(name); err != nil {
		return
	}
	f, err := s.Service.Function(function)
	if err != nil {
		return function, name, a, server.Answer(err, s.ARN(function, ""))
	}
	a, ok := f.Aliases[name]
	if !ok {
		return function, name, a, &server.Refusal{Status: http.StatusNotFound, Code: "ResourceNotFoundException", Message: "Alias not found: " + s.ARN(function, name)}
	}
	return function, name, a, nil
}

func (s *door) getAlias(w http.ResponseWriter, r *http.Request) error {
	function, name, a, err := s.aliasOf(r)
	if err != nil {
		return err
	}
	server.WriteJSON(w, http.StatusOK, s.aliasAnswer(function, name, &a))
	return nil
}

func (s *door) deleteAlias(w http.ResponseWriter, r *http.Request) error {
	function, err := s.unqualified(r)
	if err != nil {
		return err
	}
	name := r.PathValue("alias")
	if err := checkAliasName(name); err != nil {
		return err
	}
	if err := s.Service.RemoveAlias(function, name); err != nil {
		return server.Answer(err, s.ARN(function, ""))
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *door) listAliases(w http.ResponseWriter, r *http.Request) error {
	function, err := s.unqualified(r)
	if err != nil {
		return err
	}
	f, err := s.Service.Function(function)
	if err != nil {
		return server.Answer(err, s.ARN(function, ""))
	}
	version := r.URL.Query().Get("FunctionVersion")
	list := []*aliasConfiguration{}
	for _, name := range slices.Sorted(maps.Keys(f.Aliases)) {
		if a := f.Aliases[name]; version == "" || a.Version == version {
			list = append(list, s.aliasAnswer(function, name, &a))
		}
	}
	return answerPage(w, r, list, "Aliases")
}
