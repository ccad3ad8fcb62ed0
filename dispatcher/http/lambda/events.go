package lambda

import (
	"maps"
	"net/http"
	"slices"
	"time"

	"seuss/dispatcher"
	"seuss/dispatcher/events"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/http/server"
)

// Ranges of what is asked for asynchronous events (API reference,
// PutFunctionEventInvokeConfig).
const (
	maxRetries   = events.Attempts - 1
	minEventAge  = 60 // seconds
	maxEventAge  = int(events.MaxAge / time.Second)
	destinations = "a destination is a function of this service and of the same owner, named by its ARN"
)

// eventRules are the operations on how asynchronous events are run.
type eventRules struct{ *door }

func (s eventRules) routes() map[string]handler {
	return map[string]handler{
		"PUT /2019-09-25/functions/{name}/event-invoke-config":      s.put,
		"POST /2019-09-25/functions/{name}/event-invoke-config":     s.update,
		"GET /2019-09-25/functions/{name}/event-invoke-config":      s.get,
		"DELETE /2019-09-25/functions/{name}/event-invoke-config":   s.remove,
		"GET /2019-09-25/functions/{name}/event-invoke-config/list": s.list,
	}
}

type destinationConfig struct{ OnSuccess, OnFailure *target }

type target struct{ Destination string }

// eventConfig is Lambda's FunctionEventInvokeConfig.
type eventConfig struct {
	FunctionArn              string
	LastModified             float64 // seconds since 1970
	MaximumRetryAttempts     *int    `json:",omitempty"`
	MaximumEventAgeInSeconds *int    `json:",omitempty"`
	DestinationConfig        struct{ OnSuccess, OnFailure target }
}

func (s eventRules) config(key, qualifier string, rules *functions.EventRules) *eventConfig {
	c := &eventConfig{FunctionArn: s.ARN(key, qualifier), LastModified: float64(rules.Changed.UnixMilli()) / 1000, MaximumRetryAttempts: rules.Retries}
	if rules.MaxAgeSec > 0 {
		c.MaximumEventAgeInSeconds = &rules.MaxAgeSec
	}
	if d := rules.OnSuccess; d != nil {
		c.DestinationConfig.OnSuccess.Destination = d.ARN
	}
	if d := rules.OnFailure; d != nil {
		c.DestinationConfig.OnFailure.Destination = d.ARN
	}
	return c
}

func (s eventRules) put(w http.ResponseWriter, r *http.Request) error {
	return s.change(w, r, "PutFunctionEventInvokeConfig", true)
}

func (s eventRules) update(w http.ResponseWriter, r *http.Request) error {
	return s.change(w, r, "UpdateFunctionEventInvokeConfig", false)
}

// change writes what a request asks for over what there is, or in its place.
func (s eventRules) change(w http.ResponseWriter, r *http.Request, operation string, anew bool) error {
	at, err := s.attachment(r)
	if err != nil {
		return err
	}
	var c struct {
		MaximumRetryAttempts, MaximumEventAgeInSeconds *int
		DestinationConfig                              *destinationConfig
	}
	if err := decode(r, maxConfigRequest, operation, &c); err != nil {
		return err
	}
	if n := c.MaximumRetryAttempts; n != nil && (*n < 0 || *n > maxRetries) {
		return server.Validation("maximumRetryAttempts", itoa(*n), "Member must have value between 0 and "+itoa(maxRetries))
	}
	if n := c.MaximumEventAgeInSeconds; n != nil && (*n < minEventAge || *n > maxEventAge) {
		return server.Validation("maximumEventAgeInSeconds", itoa(*n), "Member must have value between "+itoa(minEventAge)+" and "+itoa(maxEventAge))
	}
	var success, failure *functions.Destination
	if d := c.DestinationConfig; d != nil {
		if success, err = s.destination(r, at.key, d.OnSuccess, "OnSuccess"); err != nil {
			return err
		}
		if failure, err = s.destination(r, at.key, d.OnFailure, "OnFailure"); err != nil {
			return err
		}
	}
	var now functions.EventRules
	_, err = s.Service.Attach(at.key, at.qualifier, "", func(a *functions.Attached) error {
		switch {
		case anew:
			now = functions.EventRules{}
		case a.Events == nil:
			return errNoEventRules(at.arn)
		default:
			now = *a.Events
		}
		if n := c.MaximumRetryAttempts; n != nil {
			now.Retries = n
		}
		if n := c.MaximumEventAgeInSeconds; n != nil {
			now.MaxAgeSec = *n
		}
		if d := c.DestinationConfig; d != nil {
			if anew || d.OnSuccess != nil {
				now.OnSuccess = success
			}
			if anew || d.OnFailure != nil {
				now.OnFailure = failure
			}
		}
		now.Changed = time.Now().UTC().Round(0)
		a.Events = &now
		return nil
	})
	if err != nil {
		return server.Answer(err, at.arn)
	}
	server.WriteJSON(w, http.StatusOK, s.config(at.key, at.qualifier, &now))
	return nil
}

// destination finds the function that a destination names; one that names nothing is none.
func (s eventRules) destination(r *http.Request, of string, to *target, field string) (*functions.Destination, error) {
	if to == nil || to.Destination == "" {
		return nil, nil
	}
	refused := server.InvalidParameter("The destination %.300q of %s is not supported: %s.", to.Destination, field, destinations)
	name, err := s.ParseFunctionName(r, to.Destination, "")
	if err != nil || functions.OwnerOf(name.Key) != functions.OwnerOf(of) {
		return nil, refused
	}
	if _, err := s.Service.Lookup(name.Deployment()); err != nil {
		return nil, server.InvalidParameter("The destination %.300q of %s does not exist: %s.", to.Destination, field, destinations)
	}
	return &functions.Destination{Function: name.Deployment(), ARN: s.ARN(name.Key, name.Qualifier)}, nil
}

func errNoEventRules(arn string) error {
	return &server.Refusal{Status: http.StatusNotFound, Code: "ResourceNotFoundException", Message: "The function " + arn + " doesn't have an EventInvokeConfig"}
}

func (s eventRules) get(w http.ResponseWriter, r *http.Request) error {
	at, f, err := s.attached(r)
	if err != nil {
		return err
	}
	rules := f.Attached[at.qualifier].Events
	if rules == nil {
		return errNoEventRules(at.arn)
	}
	server.WriteJSON(w, http.StatusOK, s.config(at.key, at.qualifier, rules))
	return nil
}

func (s eventRules) remove(w http.ResponseWriter, r *http.Request) error {
	at, err := s.attachment(r)
	if err != nil {
		return err
	}
	_, err = s.Service.Attach(at.key, at.qualifier, "", func(a *functions.Attached) error {
		if a.Events == nil {
			return errNoEventRules(at.arn)
		}
		a.Events = nil
		return nil
	})
	if err != nil {
		return server.Answer(err, at.arn)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s eventRules) list(w http.ResponseWriter, r *http.Request) error {
	name, err := s.unqualified(r)
	if err != nil {
		return err
	}
	f, err := s.Service.Function(name)
	if err != nil {
		return server.Answer(err, s.ARN(name, dispatcher.Latest))
	}
	list := []*eventConfig{}
	for _, qualifier := range slices.Sorted(maps.Keys(f.Attached)) {
		if rules := f.Attached[qualifier].Events; rules != nil {
			list = append(list, s.config(name, qualifier, rules))
		}
	}
	return answerPage(w, r, list, "FunctionEventInvokeConfigs")
}
