package functionurl

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"seuss/dispatcher/functions"
)

// isPreflight: a browser asks whether a page of another origin may send a request (Fetch
// standard, "CORS-preflight request").
func isPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && r.Header.Get("Origin") != "" && r.Header.Get("Access-Control-Request-Method") != ""
}

// preflight answers it. What is not allowed is not named, and the browser sends nothing.
func preflight(h http.Header, c *functions.CORS, r *http.Request) {
	if !allowOrigin(h, c, r.Header.Get("Origin")) {
		return
	}
	method := r.Header.Get("Access-Control-Request-Method")
	if any := slices.Contains(c.Methods, "*"); any || slices.Contains(c.Methods, method) {
		allowed := strings.Join(c.Methods, ",")
		if any { // "*" says nothing where there are credentials
			allowed = method
		}
		h.Set("Access-Control-Allow-Methods", allowed)
	}
	if asked := r.Header.Get("Access-Control-Request-Headers"); asked != "" && len(c.Headers) > 0 {
		allowed := strings.Join(c.Headers, ",")
		if slices.Contains(c.Headers, "*") {
			allowed = asked
		}
		h.Set("Access-Control-Allow-Headers", allowed)
	}
	if c.MaxAgeSec > 0 {
		h.Set("Access-Control-Max-Age", strconv.Itoa(c.MaxAgeSec))
	}
}

// allowOrigin says in an answer that a page of an origin may see it, if it may.
func allowOrigin(h http.Header, c *functions.CORS, origin string) bool {
	h.Add("Vary", "Origin")
	any := slices.Contains(c.Origins, "*")
	if origin == "" || !any && !slices.Contains(c.Origins, origin) {
		return false
	}
	if any && !c.Credentials {
		origin = "*"
	}
	h.Set("Access-Control-Allow-Origin", origin)
	if c.Credentials {
		h.Set("Access-Control-Allow-Credentials", "true")
	}
	return true
}

// cors has the headers of an answer say what the URL allows, and not what the function says
// of that.
func cors(h http.Header, c *functions.CORS, origin string) {
	for name := range h {
		if strings.HasPrefix(name, "Access-Control-") {
			h.Del(name)
		}
	}
	if allowOrigin(h, c, origin) && len(c.Expose) > 0 {
		h.Set("Access-Control-Expose-Headers", strings.Join(c.Expose, ","))
	}
}
