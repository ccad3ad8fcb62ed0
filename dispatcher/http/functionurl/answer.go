package functionurl

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// answer is what a function has returned, for a client.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// said is what a function says in its result of the answer.
type said struct {
	StatusCode json.RawMessage            `json:"statusCode"`
	Headers    map[string]json.RawMessage `json:"headers"`
	Cookies    []string                   `json:"cookies"`
	Body       json.RawMessage            `json:"body"`
	IsEncoded  bool                       `json:"isBase64Encoded"`
}

// ofServer are headers of an answer that are the service's to write.
var ofServer = map[string]bool{
	"Connection": true, "Content-Length": true, "Date": true, "Keep-Alive": true, "Proxy-Authenticate": true, "Proxy-Connection": true,
	"Te": true, "Trailer": true, "Transfer-Encoding": true, "Upgrade": true, "X-Amzn-Requestid": true,
}

// answerOf makes an answer of a function's result, a JSON document: of an object with a
// statusCode what it says, of anything else the document itself, as JSON; of a text the text
// ("Lambda function URLs", response payload).
func answerOf(output []byte) (*answer, error) {
	a := &answer{status: http.StatusOK, header: http.Header{}}
	var says said
	output = bytes.TrimSpace(output)
	isObject := len(output) > 0 && output[0] == '{'
	var err error
	if isObject {
		var has map[string]json.RawMessage
		if err = json.Unmarshal(output, &has); err != nil {
			return nil, err
		}
		_, isObject = has["statusCode"]
	}
	if !isObject {
		a.header.Set("Content-Type", "application/json")
		a.body, err = textOf(output)
		return a, err
	}
	if err := json.Unmarshal(output, &says); err != nil {
		return nil, err
	}
	if err := a.head(&says); err != nil {
		return nil, err
	}
	if a.body, err = textOf(says.Body); err != nil {
		return nil, err
	}
	if says.IsEncoded {
		if a.body, err = base64.StdEncoding.DecodeString(string(a.body)); err != nil {
			return nil, fmt.Errorf("the body is not base64: %w", err)
		}
	}
	if a.header.Get("Content-Type") == "" {
		a.header.Set("Content-Type", "application/json")
	}
	return a, nil
}

// head takes what a function says of status, headers and cookies.
func (a *answer) head(says *said) (err error) {
	code := strings.Trim(string(says.StatusCode), `"`) // some write it as a text
	if a.status, err = strconv.Atoi(code); err != nil || a.status < 200 || a.status > 599 {
		return fmt.Errorf("the statusCode %.100s is not 200 to 599", says.StatusCode)
	}
	for name, value := range says.Headers {
		text, err := textOf(value)
		if err != nil {
			return err
		}
		if err := a.set(name, string(text)); err != nil {
			return err
		}
	}
	for _, c := range says.Cookies {
		if !httpguts.ValidHeaderFieldValue(c) {
			return fmt.Errorf("the cookie %.100q is none", c)
		}
		a.header.Add("Set-Cookie", c)
	}
	return nil
}

// set adds a header of the function's, unless it is the service's to write.
func (a *answer) set(name, value string) error {
	if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
		return fmt.Errorf("the header %.100q: %.100q is none", name, value)
	}
	if name = http.CanonicalHeaderKey(name); !ofServer[name] {
		a.header.Add(name, value)
	}
	return nil
}

// textOf is a JSON document: a text itself, nothing of null, and of anything else how it is
// written.
func textOf(document json.RawMessage) ([]byte, error) {
	switch {
	case len(document) == 0:
		return nil, nil
	case document[0] == '"':
		var text string
		err := json.Unmarshal(document, &text)
		return []byte(text), err
	}
	return document, nil
}

// write sends the answer, and has it on its way at once: the handler is not at its end.
func (a *answer) write(w http.ResponseWriter) {
	h := w.Header()
	for name, values := range a.header {
		h[name] = values
	}
	if a.status == http.StatusNoContent || a.status == http.StatusNotModified { // these have no body
		a.body = nil
	} else {
		h.Set("Content-Length", strconv.Itoa(len(a.body)))
	}
	w.WriteHeader(a.status)
	w.Write(a.body) // a client that has gone is no concern
	http.NewResponseController(w).Flush()
}
