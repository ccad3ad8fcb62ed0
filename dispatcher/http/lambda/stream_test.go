package lambda

import (
	"context"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"seuss/dispatcher"
	"seuss/dispatcher/http/servertest"
)

// TestGoSDKResponseStream: AWS's SDK reads a result as a stream of events: one chunk, and the
// end with what the function did wrong.
func TestGoSDKResponseStream(t *testing.T) {
	f := servertest.New(t)
	_, url := f.Serve(t, nil)
	c := sdk(url)
	create(t, c, "echo", nil)
	read := func(change func(*lambda.InvokeWithResponseStreamInput)) (chunks []string, end types.InvokeWithResponseStreamCompleteEvent, out *lambda.InvokeWithResponseStreamOutput, err error) {
		in := &lambda.InvokeWithResponseStreamInput{FunctionName: aws.String("echo"), Payload: []byte(`{"a":1}`)}
		change(in)
		if out, err = c.InvokeWithResponseStream(t.Context(), in); err != nil {
			return
		}
		s := out.GetStream()
		defer s.Close()
		for e := range s.Events() {
			switch e := e.(type) {
			case *types.InvokeWithResponseStreamResponseEventMemberPayloadChunk:
				chunks = append(chunks, string(e.Value.Payload))
			case *types.InvokeWithResponseStreamResponseEventMemberInvokeComplete:
				end = e.Value
			}
		}
		return chunks, end, out, s.Err()
	}
	chunks, end, out, err := read(func(in *lambda.InvokeWithResponseStreamInput) { in.LogType = types.LogTypeTail })
	if err != nil || len(chunks) != 1 || !strings.Contains(chunks[0], `"echo":{"a":1}`) || end.ErrorCode != nil || aws.ToString(out.ExecutedVersion) != "$LATEST" {
		t.Errorf("%q %+v %+v %v", chunks, end, out, err)
	}
	if log, err := base64.StdEncoding.DecodeString(aws.ToString(end.LogResult)); err != nil || !strings.Contains(string(log), "REPORT") {
		t.Errorf("%s %v", log, err)
	}
	chunks, end, _, err = read(func(in *lambda.InvokeWithResponseStreamInput) { in.Payload = []byte(`{"fail":"no"}`) })
	if err != nil || len(chunks) != 0 || aws.ToString(end.ErrorCode) != "ValueError" || !strings.Contains(aws.ToString(end.ErrorDetails), `"errorMessage":"no"`) {
		t.Errorf("%q %+v %v", chunks, end, err)
	}
	big := `"` + strings.Repeat("a", maxEventSync-200) + `"`
	chunks, _, _, err = read(func(in *lambda.InvokeWithResponseStreamInput) { in.Payload = []byte(big) })
	if err != nil || len(chunks) != 1 || !strings.Contains(chunks[0], big) {
		t.Errorf("%d chunks, %v", len(chunks), err)
	}
	_, _, _, err = read(func(in *lambda.InvokeWithResponseStreamInput) { in.FunctionName = aws.String("nobody") })
	wantCode(t, err, "ResourceNotFoundException", "nobody")
	_, _, _, err = read(func(in *lambda.InvokeWithResponseStreamInput) { in.Payload = []byte(`{`) })
	wantCode(t, err, "InvalidRequestContentException", "")
}

// TestResponseStreamComes: what a function streams is there before it ends, and what it did
// wrong then is in the last event. Who reads nothing holds no machine.
func TestResponseStreamComes(t *testing.T) {
	f := servertest.New(t)
	_, url := f.Serve(t, nil)
	c := sdk(url)
	create(t, c, "echo", nil)
	goOn, ended := make(chan struct{}), make(chan struct{}, 1)
	f.Delivered = func() { ended <- struct{}{} }
	f.OnInvoke = func(ctx context.Context, r dispatcher.Request) (*dispatcher.Result, error) {
		if string(r.Event) == "1" {
			for range 24 {
				r.Stream("", make([]byte, 256<<10)) // more than sockets take
			}
			return &dispatcher.Result{RequestID: r.RequestID}, nil
		}
		r.Stream("text/plain", []byte("one"))
		select {
		case <-goOn:
		case <-ctx.Done():
			t.Error("nobody has read what was streamed")
		}
		r.Stream("text/plain", []byte("two"))
		return &dispatcher.Result{RequestID: r.RequestID, Error: &dispatcher.FunctionError{Type: "Own", Message: "half way"}}, nil
	}
	out, err := c.InvokeWithResponseStream(t.Context(), &lambda.InvokeWithResponseStreamInput{FunctionName: aws.String("echo"), Payload: []byte("2")})
	if err != nil {
		t.Fatal(err)
	}
	s := out.GetStream()
	defer s.Close()
	var chunks []string
	for e := range s.Events() {
		switch e := e.(type) {
		case *types.InvokeWithResponseStreamResponseEventMemberPayloadChunk:
			if chunks = append(chunks, string(e.Value.Payload)); len(chunks) == 1 {
				close(goOn)
			}
		case *types.InvokeWithResponseStreamResponseEventMemberInvokeComplete:
			if aws.ToString(e.Value.ErrorCode) != "Own" || !strings.Contains(aws.ToString(e.Value.ErrorDetails), "half way") {
				t.Errorf("%+v", e.Value)
			}
		}
	}
	if strings.Join(chunks, "|") != "one|two" || s.Err() != nil {
		t.Errorf("%q, %v", chunks, s.Err())
	}
	<-ended
	out, err = c.InvokeWithResponseStream(t.Context(), &lambda.InvokeWithResponseStreamInput{FunctionName: aws.String("echo"), Payload: []byte("1")})
	if err != nil {
		t.Fatal(err)
	}
	defer out.GetStream().Close()
	<-ended // and nothing was read
}
