package lambda

import (
	"maps"
	"net/http"
	"strings"
	"unicode/utf8"

	"seuss/dispatcher/functions"
	"seuss/dispatcher/http/server"
)

// Limits of a function's tags ("Tags" in the developer guide).
const (
	maxTags     = 50
	maxTagKey   = 128 // characters
	maxTagValue = 256
)

// tags are the operations on them.
type tags struct{ *door }

func (s tags) routes() map[string]handler {
	return map[string]handler{
		"GET /2017-03-31/tags/{name}":    s.list,
		"POST /2017-03-31/tags/{name}":   s.add,
		"DELETE /2017-03-31/tags/{name}": s.remove,
	}
}

func checkTags(tags map[string]string) error {
	if len(tags) > maxTags {
		return server.InvalidParameter("A function has at most %d tags, not %d.", maxTags, len(tags))
	}
	for key, value := range tags {
		if n := utf8.RuneCountInString(key); n < 1 || n > maxTagKey || strings.HasPrefix(strings.ToLower(key), "aws:") {
			return server.InvalidParameter("The tag key %.200q is not 1 to %d characters that do not begin with aws:.", key, maxTagKey)
		}
		if utf8.RuneCountInString(value) > maxTagValue {
			return server.InvalidParameter("The value of the tag %q has more than %d characters.", key, maxTagValue)
		}
	}
	return nil
}

func (s tags) list(w http.ResponseWriter, r *http.Request) error {
	name, err := s.unqualified(r)
	if err != nil {
		return err
	}
	f, err := s.Service.Function(name)
	if err != nil {
		return server.Answer(err, s.ARN(name, ""))
	}
	all := f.Settings.Tags
	if all == nil {
		all = map[string]string{}
	}
	server.WriteJSON(w, http.StatusOK, struct{ Tags map[string]string }{all})
	return nil
}

func (s tags) add(w http.ResponseWriter, r *http.Request) error {
	var more struct{ Tags map[string]string }
	return s.change(w, r, func() error {
		if err := decode(r, maxConfigRequest, "TagResource", &more); err != nil {
			return err
		}
		if len(more.Tags) == 0 {
			return server.InvalidParameter("Tags must be given.")
		}
		return checkTags(more.Tags)
	}, func(all map[string]string) { maps.Copy(all, more.Tags) })
}

func (s tags) remove(w http.ResponseWriter, r *http.Request) error {
	keys := r.URL.Query()["tagKeys"]
	return s.change(w, r, func() error {
		if len(keys) == 0 {
			return server.InvalidParameter("tagKeys must be given.")
		}
		return nil
	}, func(all map[string]string) {
		for _, key := range keys {
			delete(all, key)
		}
	})
}

// change edits a function's tags once what is asked for is right.
func (s tags) change(w http.ResponseWriter, r *http.Request, check func() error, edit func(map[string]string)) error {
	name, err := s.unqualified(r)
	if err != nil {
		return err
	}
	f, err := s.Service.Function(name)
	if err != nil {
		return server.Answer(err, s.ARN(name, ""))
	}
	if err := check(); err != nil {
		return err
	}
	all := maps.Clone(f.Settings.Tags)
	if all == nil {
		all = map[string]string{}
	}
	if edit(all); len(all) > maxTags {
		return checkTags(all)
	}
	_, err = s.Service.Configure(name, "", func(set *functions.Settings) {
		set.Tags = maps.Clone(set.Tags) // by now it may be another one
		if set.Tags == nil {
			set.Tags = map[string]string{}
		}
		edit(set.Tags)
	})
	if err != nil {
		return server.Answer(err, s.ARN(name, ""))
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
