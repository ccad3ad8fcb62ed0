package native

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"seuss/dispatcher"
	"seuss/dispatcher/admission"
	"seuss/dispatcher/functionapi"
	"seuss/dispatcher/http/server"
	"seuss/dispatcher/state"
)

// shared is the way to what an owner's functions share: all of that of the caller's owner, by
// the requests that functions have, but for locks, which end with the request.
type shared struct{ *door }

// owner says whose state it is that is asked for.
func (s shared) owner(r *http.Request) (string, error) {
	p := server.PrincipalOf(r)
	if !p.Whole() {
		return "", &server.Refusal{Status: http.StatusForbidden, Code: "AccessDeniedException", Message: "State is shared by functions, and this token is about some of its owner's only: use one that is about all."}
	}
	return p.Owner, nil
}

func (s shared) serve(w http.ResponseWriter, r *http.Request) error {
	owner, err := s.owner(r)
	if err != nil {
		return err
	}
	body, err := server.ReadBody(r, functionapi.MaxBody, "a value is written in parts of at most 8 MiB")
	if err != nil {
		return err
	}
	session, err := s.Service.Values().Open(state.Who{Owner: owner, All: true})
	if err != nil {
		return err
	}
	defer session.Close()
	api := functionapi.API{Session: func() (*state.Session, error) { return session, nil }}
	answer, later := api.Serve(r, body)
	if later != nil {
		if answer, err = s.await(r, owner, later); err != nil {
			return err
		}
	}
	if answer.Err != nil {
		return answer.Err
	}
	answer.Write(w)
	return nil
}

// await waits for an answer, as long as the caller and the service are there.
func (s shared) await(r *http.Request, owner string, later functionapi.Later) (a functionapi.Answer, err error) {
	leave, err := s.waiting.enter(owner)
	if err != nil {
		return a, err
	}
	defer leave()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	go func() {
		select {
		case <-s.Stopping():
			cancel()
		case <-ctx.Done():
		}
	}()
	a = later(ctx)
	switch {
	case a.Err == nil:
	case r.Context().Err() != nil:
		return a, fmt.Errorf("%w: %w", admission.ErrClientGone, a.Err)
	case ctx.Err() != nil:
		return a, fmt.Errorf("%w: %w", dispatcher.ErrClosed, a.Err)
	case errors.Is(a.Err, context.DeadlineExceeded):
		return a, &server.Refusal{Status: http.StatusRequestTimeout, Message: a.Err.Error()}
	}
	return a, nil
}

// stats answers with figures; of others' only who may everywhere hears.
func (s shared) stats(w http.ResponseWriter, r *http.Request) error {
	owner, err := s.owner(r)
	if err != nil {
		return err
	}
	st := s.Service.Values().Stats(owner)
	if !server.PrincipalOf(r).Everywhere() {
		st.All, st.Most = 0, 0
	}
	server.WriteJSON(w, http.StatusOK, st)
	return nil
}
