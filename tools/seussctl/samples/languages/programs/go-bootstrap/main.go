// A bootstrap with nothing but Go's standard library, which answers with what a greeting says.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
)

func main() {
	api := "http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API") + "/2018-06-01/runtime/invocation/"
	for count := 1; ; count++ {
		next, err := http.Get(api + "next")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		var event struct {
			Name string
			Fail bool
		}
		err = json.NewDecoder(next.Body).Decode(&event)
		next.Body.Close()
		answer, what := any(map[string]any{"hello": event.Name, "count": count}), "/response"
		if event.Fail || err != nil {
			answer, what = map[string]string{"errorType": "Failed", "errorMessage": "asked to"}, "/error"
		}
		b, _ := json.Marshal(answer)
		id := next.Header.Get("Lambda-Runtime-Aws-Request-Id")
		done, err := http.Post(api+id+what, "application/json", bytes.NewReader(b))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		done.Body.Close()
	}
}
