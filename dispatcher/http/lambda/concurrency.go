package lambda

import (
	"net/http"

	"seuss/dispatcher/functions"
	"seuss/dispatcher/http/server"
)

// Concurrency: how many invocations of a function may run at a time.

func (s *door) putConcurrency(w http.ResponseWriter, r *http.Request) error {
	name, err := s.unqualified(r)
	if err != nil {
		return err
	}
	var c struct{ ReservedConcurrentExecutions *int }
	if err := decode(r, maxConfigRequest, "PutFunctionConcurrency", &c); err != nil {
		return err
	}
	n := c.ReservedConcurrentExecutions
	if n == nil {
		return server.InvalidParameter("ReservedConcurrentExecutions must be given.")
	}
	if _, err := s.Service.Configure(name, "", func(set *functions.Settings) { set.Concurrency = n }); err != nil {
		return server.Answer(err, s.ARN(name, ""))
	}
	server.WriteJSON(w, http.StatusOK, map[string]int{"ReservedConcurrentExecutions": *n})
	return nil
}

func (s *door) getConcurrency(w http.ResponseWriter, r *http.Request) error {
	name, err := s.unqualified(r)
	if err != nil {
		return err
	}
	f, err := s.Service.Function(name)
	if err != nil {
		return server.Answer(err, s.ARN(name, ""))
	}
	answer := map[string]int{}
	if f.Settings.Concurrency != nil {
		answer["ReservedConcurrentExecutions"] = *f.Settings.Concurrency
	}
	server.WriteJSON(w, http.StatusOK, answer)
	return nil
}

func (s *door) deleteConcurrency(w http.ResponseWriter, r *http.Request) error {
	name, err := s.unqualified(r)
	if err != nil {
		return err
	}
	if _, err := s.Service.Configure(name, "", func(set *functions.Settings) { set.Concurrency = nil }); err != nil {
		return server.Answer(err, s.ARN(name, ""))
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
