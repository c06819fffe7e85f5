// Command client calls one method of the Kubernetes Container Runtime Interface (runtime.v1), whichever it is:
//
//	client SOCKET RuntimeService/RunPodSandbox <request.json
//
// The request comes as JSON on standard input and the response goes as JSON to standard output, with the names of api.proto. An
// error that the server returns goes to standard error, its code first; the exit status is 1 then.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	_ "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const limit = 60 * time.Second

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("usage: client SOCKET SERVICE/METHOD <REQUEST")
	}
	service, name, _ := strings.Cut(args[1], "/")
	method, err := findMethod(service, name)
	if err != nil {
		return err
	}
	request, err := readRequest(method)
	if err != nil {
		return err
	}
	response, err := newMessage(method.Output())
	if err != nil {
		return err
	}
	connection, err := grpc.NewClient("unix://"+args[0], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	path := fmt.Sprintf("/runtime.v1.%s/%s", service, name)
	if err := connection.Invoke(ctx, path, request, response); err != nil {
		return err
	}
	text, err := protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}.Marshal(response)
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(text)
	return err
}

func findMethod(service, name string) (protoreflect.MethodDescriptor, error) {
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName("runtime.v1." + service))
	if err != nil {
		return nil, fmt.Errorf("service %q: %w", service, err)
	}
	descriptor, ok := found.(protoreflect.ServiceDescriptor)
	if !ok {
		return nil, fmt.Errorf("%q is no service", service)
	}
	method := descriptor.Methods().ByName(protoreflect.Name(name))
	if method == nil {
		return nil, fmt.Errorf("%s has no method %q", service, name)
	}
	return method, nil
}

func readRequest(method protoreflect.MethodDescriptor) (proto.Message, error) {
	text, err := io.ReadAll(os.Stdin)
	if err != nil {
		return nil, err
	}
	request, err := newMessage(method.Input())
	if err != nil {
		return nil, err
	}
	if err := protojson.Unmarshal(text, request); err != nil {
		return nil, fmt.Errorf("request: %w", err)
	}
	return request, nil
}

func newMessage(descriptor protoreflect.MessageDescriptor) (proto.Message, error) {
	kind, err := protoregistry.GlobalTypes.FindMessageByName(descriptor.FullName())
	if err != nil {
		return nil, err
	}
	return kind.New().Interface(), nil
}
