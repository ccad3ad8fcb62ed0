package sched_test

import (
	"context"
	"errors"
	"fmt"

	"seuss/dispatcher/sched"
)

// One slot, one function that may run once at a time: the second request would
// have to wait, and says that it will not.
func Example() {
	s := sched.New(sched.Options{Slots: 1, Queue: 10, FunctionQueue: 10})
	first, err := s.Acquire(context.Background(), "hello", 1)
	if err != nil {
		fmt.Println(err)
		return
	}

	impatient, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = s.Acquire(impatient, "hello", 1)
	fmt.Println("second:", errors.Is(err, context.Canceled))

	first.Release()
	third, err := s.Acquire(context.Background(), "hello", 1)
	fmt.Println("third:", third != nil, err)
	// Output:
	// second: true
	// third: true <nil>
}
