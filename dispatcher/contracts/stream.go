package contracts

// Stream takes an answer as it comes, in place of having it whole: content type, "" where
// the program says none, and bytes that are valid during the call. Not every contract can
// say so, and not every program does; then it is not called. It is called on the goroutine
// that runs the guest, and does not wait for whoever reads: nothing but its program holds a
// machine. All of it together has at most MaxAnswerBytes.
type Stream func(contentType string, p []byte)
