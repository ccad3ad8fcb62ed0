// A function with AWS's own library for Go.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

type event struct {
	Name string `json:"name"`
	Fail bool   `json:"fail"`
}

type answer struct {
	Text     string `json:"text"`
	Count    int    `json:"count"`
	Function string `json:"function"`
	Late     bool   `json:"late"`
}

var count int

func handle(ctx context.Context, e event) (*answer, error) {
	count++
	if e.Fail {
		return nil, fmt.Errorf("%s asked for it", e.Name)
	}
	_, bounded := ctx.Deadline()
	about, ok := lambdacontext.FromContext(ctx)
	return &answer{"hello " + e.Name, count, os.Getenv("AWS_LAMBDA_FUNCTION_NAME"), !bounded || !ok || about.AwsRequestID == ""}, nil
}

func main() { lambda.Start(handle) }
