// A server with Go's net/http.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
)

var count int

func main() {
	http.HandleFunc("/count", func(w http.ResponseWriter, _ *http.Request) {
		count++
		fmt.Fprintf(w, "%d\n", count)
	})
	http.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s", r.Method, r.URL.RawQuery, b)
	})
	http.HandleFunc("/parts", func(w http.ResponseWriter, _ *http.Request) {
		for range 64 {
			io.WriteString(w, strings.Repeat("x", 8192))
			w.(http.Flusher).Flush()
		}
	})
	fmt.Fprintln(os.Stderr, http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil))
}
