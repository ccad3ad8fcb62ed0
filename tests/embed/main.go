// Command embed deploys and invokes a function with seuss as a library, from a
// module of its own.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"seuss/dispatcher"
	"seuss/images"
	"seuss/images/runtimes"
	"seuss/images/runtimes/python"
	"seuss/vmm/platform/process"
)

func main() {
	if err := run(context.Background(), os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, state string) error {
	store := images.Store{Dir: filepath.Join(state, "images")}
	if _, err := python.Runtime.Build(ctx, store, runtimes.Options{Without: []string{"numpy"}}, images.AddOptions{}); err != nil {
		return err
	}
	platform, err := process.New(process.Options{}) // or kvm.New
	if err != nil {
		return err
	}
	defer platform.Close()
	d, err := dispatcher.Open(dispatcher.Options{StateDir: state, Platform: platform})
	if err != nil {
		return err
	}
	defer d.Close()
	code := "def handler(event, context):\n    return f\"Hello, {event['name']}!\"\n"
	if _, err := d.Deploy(ctx, dispatcher.FunctionSpec{Name: "hello", Handler: "hello.handler", Files: map[string][]byte{"hello.py": []byte(code)}}); err != nil {
		return err
	}
	result, err := d.Invoke(ctx, dispatcher.Request{Function: "hello", Event: []byte(`{"name": "Ada"}`)})
	if err != nil {
		return err
	}
	fmt.Printf("%s, from %s\n", result.Output, result.Path)
	return nil
}
