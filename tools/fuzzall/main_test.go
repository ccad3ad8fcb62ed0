package main

import "testing"

func TestEndOfTime(t *testing.T) {
	const over = "fuzz: elapsed: 5s, execs: 78228\n--- FAIL: FuzzFunction (5.10s)\n    context deadline exceeded\nFAIL\nexit status 1\n"
	const finding = "--- FAIL: FuzzFunction (4.40s)\n    --- FAIL: FuzzFunction (0.00s)\n        x_test.go:1: context deadline exceeded\n    \n    Failing input written to testdata/fuzz/F/1\n"
	if !endOfTime([]byte(over)) {
		t.Error("the end of the time counts as a finding")
	}
	for _, real := range []string{finding, over + finding, "panic: test timed out\n"} {
		if endOfTime([]byte(real)) {
			t.Errorf("taken for the end of the time: %q", real)
		}
	}
}
