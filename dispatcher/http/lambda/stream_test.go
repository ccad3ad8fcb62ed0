package lambda

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

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
