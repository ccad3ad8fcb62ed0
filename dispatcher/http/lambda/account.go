package lambda

import (
	"net/http"
	"strings"

	"seuss/dispatcher/access"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/http/server"
)

// account is what an account has and may have, and what it has of nothing.
type account struct{ *door }

func (s account) routes() map[string]handler {
	return map[string]handler{
		"GET /2016-08-19/account-settings":                     s.settings,
		"GET /2016-08-19/account-settings/{$}":                 s.settings,
		"GET /2020-06-30/functions/{name}/code-signing-config": s.codeSigning,
	}
}

// settings is GetAccountSettings: the account is the caller's owner. Code is bounded by his
// quota, and without one by functions.MaxCodeBytes for each function alone.
func (s account) settings(w http.ResponseWriter, r *http.Request) error {
	p := server.PrincipalOf(r)
	list, err := s.Service.Owned(p.Owner)
	if err != nil {
		s.Log.Warn("some deployments cannot be read", "error", err)
	}
	var limit struct {
		TotalCodeSize, CodeSizeUnzipped, CodeSizeZipped      int64
		ConcurrentExecutions, UnreservedConcurrentExecutions int
	}
	var usage struct{ TotalCodeSize, FunctionCount int64 }
	var quota access.Quota
	if s.Keys != nil {
		quota = s.Keys.Quota(p.Owner)
	}
	limit.CodeSizeUnzipped, limit.CodeSizeZipped = functions.MaxCodeBytes, maxArchiveBytes
	limit.TotalCodeSize = int64(quota.CodeBytes)
	limit.ConcurrentExecutions = s.Scheduler.Stats().Slots
	if n := quota.Instances; n > 0 {
		limit.ConcurrentExecutions = min(limit.ConcurrentExecutions, n)
	}
	limit.UnreservedConcurrentExecutions = limit.ConcurrentExecutions
	for i := range list {
		f := &list[i]
		if !p.Reaches(f.Name) {
			continue
		}
		usage.TotalCodeSize += f.Settings.PackageBytes
		if strings.Contains(f.Name, ":") {
			continue
		}
		usage.FunctionCount++
		if n := f.Settings.Concurrency; n != nil {
			limit.UnreservedConcurrentExecutions = max(0, limit.UnreservedConcurrentExecutions-*n)
		}
	}
	if limit.TotalCodeSize == 0 { // no quota: as much as its disk has room for
		limit.TotalCodeSize = usage.TotalCodeSize + s.free()
	}
	server.WriteJSON(w, http.StatusOK, struct{ AccountLimit, AccountUsage any }{limit, usage})
	return nil
}

// free is what the state directory's file system has free, in bytes, 0 if that is not known.
func (s account) free() int64 {
	free, _, err := s.FreeSpace(s.Service.StateDir())
	if err != nil {
		s.Log.Warn("free space is not known", "error", err)
		return 0
	}
	return int64(free)
}

// codeSigning is GetFunctionCodeSigningConfig: no function has one.
func (s account) codeSigning(w http.ResponseWriter, r *http.Request) error {
	name, err := s.unqualified(r)
	if err != nil {
		return err
	}
	if _, err := s.Service.Function(name); err != nil {
		return server.Answer(err, s.ARN(name, ""))
	}
	server.WriteJSON(w, http.StatusOK, struct{ FunctionName string }{functions.NameOf(name)})
	return nil
}
