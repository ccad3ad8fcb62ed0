package native

import (
	_ "embed"
	"net/http"
)

// openapi.json describes both APIs in OpenAPI 3. Tests hold every answer
// against it.
//
//go:embed openapi.json
var openapiDocument []byte

func (s *door) openAPI(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Write(openapiDocument)
}
