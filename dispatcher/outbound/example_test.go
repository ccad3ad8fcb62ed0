package outbound_test

import (
	"errors"
	"fmt"

	"seuss/dispatcher/outbound"
)

// A list names what functions may reach; what it does not mean is an error.
func ExampleParse() {
	_, err := outbound.Parse([]string{"api.example.com:443", "*.example.org:*", "10.2.0.0/16:5432"})
	fmt.Println(err)
	_, err = outbound.Parse([]string{"api.example.com"})
	fmt.Println(errors.Is(err, outbound.ErrEntry))
	// Output:
	// <nil>
	// true
}
