package embedded_test

import (
	"context"
	"fmt"
	"log"

	"seuss/dispatcher"
	"seuss/dispatcher/embedded"
)

// A function is deployed and invoked, with this machine's Python on the best platform.
func Example() {
	ctx := context.Background()
	service, err := embedded.Open(ctx, "state", embedded.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer service.Close()
	code := []byte("def handler(event, context):\n    return f\"Hello, {event['name']}!\"\n")
	if _, err := service.Deploy(ctx, dispatcher.FunctionSpec{Name: "hello", Handler: "hello.handler", Files: map[string][]byte{"hello.py": code}}); err != nil {
		log.Panic(err)
	}
	result, err := service.Invoke(ctx, dispatcher.Request{Function: "hello", Event: []byte(`{"name": "Ada"}`)})
	if err != nil {
		log.Panic(err)
	}
	fmt.Printf("%s, from %s\n", result.Output, result.Path)
}
