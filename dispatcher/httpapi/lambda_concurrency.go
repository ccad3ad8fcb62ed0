package httpapi

import (
	"net/http"
	"seuss/dispatcher/functions"
)

// Concurrency: how many invocations of a function may run at a time.

func (s *Server) putConcurrency(w http.ResponseWriter, r *http.Request) error {
	name, err := s.unqualified(r)
	if err != nil {
		return err
	}
	var c struct{ ReservedConcurrentExecutions *int }
	if err := decode(r, maxConfigRequest, "PutFunctionConcurrency", &c); err != nil {
		return err
	}
	n := c.ReservedConcurrentExecutions
	if n == nil || *n < 0 {
		return invalidParameter("ReservedConcurrentExecutions must be a number of at least 0.")
	}
	if _, err := s.backend.Configure(name, "", func(set *functions.Settings) { set.Concurrency = n }); err != nil {
		return asAPIError(err, s.arn(name, ""))
	}
	writeJSON(w, http.StatusOK, map[string]int{"ReservedConcurrentExecutions": *n})
	return nil
}

func (s *Server) getConcurrency(w http.ResponseWriter, r *http.Request) error {
	name, err := s.unqualified(r)
	if err != nil {
		return err
	}
	f, err := s.backend.Function(name)
	if err != nil {
		return asAPIError(err, s.arn(name, ""))
	}
	answer := map[string]int{}
	if f.Settings.Concurrency != nil {
		answer["ReservedConcurrentExecutions"] = *f.Settings.Concurrency
	}
	writeJSON(w, http.StatusOK, answer)
	return nil
}

func (s *Server) deleteConcurrency(w http.ResponseWriter, r *http.Request) error {
	name, err := s.unqualified(r)
	if err != nil {
		return err
	}
	if _, err := s.backend.Configure(name, "", func(set *functions.Settings) { set.Concurrency = nil }); err != nil {
		return asAPIError(err, s.arn(name, ""))
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
