// Command embed deploys and invokes a function with seuss as a library, from a
// module of its own.
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"seuss/dispatcher"
	"seuss/dispatcher/embedded"
)

func run(ctx context.Context, state string) error {
	d, err := embedded.Open(ctx, state, embedded.Options{}) // this machine's Python, on the best platform that it has
	if err != nil {
		return err
	}
	defer d.Close()
	code := []byte("def handler(event, context):\n    return f\"Hello, {event['name']}!\"\n")
	if _, err := d.Deploy(ctx, dispatcher.FunctionSpec{Name: "hello", Handler: "hello.handler", Files: map[string][]byte{"hello.py": code}}); err != nil {
		return err
	}
	result, err := d.Invoke(ctx, dispatcher.Request{Function: "hello", Event: []byte(`{"name": "Ada"}`)})
	if err != nil {
		return err
	}
	fmt.Printf("%s, from %s\n", result.Output, result.Path)
	return nil
}

func main() {
	if err := run(context.Background(), os.Args[1]); err != nil {
		log.Fatal(err)
	}
}
