// Package gpus offers made-up cards to the kubelet, so that scheduling, quota and allocation of GPUs are real without one.
package gpus

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

// Command serves one resource; the kubelet is expected under its usual folder.
func Command() *cobra.Command {
	plugin := &plugin{}
	command := &cobra.Command{
		Use:          "gpus",
		SilenceUsage: true,
		RunE: func(command *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(command.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return plugin.serve(ctx)
		},
	}
	command.Flags().StringVar(&plugin.resource, "resource", "nvidia.com/gpu", "name of the extended resource")
	command.Flags().IntVar(&plugin.count, "count", 4, "how many cards there are")
	return command
}

type plugin struct {
	api.UnimplementedDevicePluginServer
	resource string
	count    int
}

func (p *plugin) socket() string {
	return "kqi-" + strings.NewReplacer("/", "-", ".", "-").Replace(p.resource) + ".sock"
}

// serve registers, and again whenever the kubelet was started anew: it removes all sockets then.
func (p *plugin) serve(ctx context.Context) error {
	path := filepath.Join(api.DevicePluginPath, p.socket())
	for ctx.Err() == nil {
		if err := p.serveOnce(ctx, path); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
	return nil
}

func (p *plugin) serveOnce(ctx context.Context, path string) error {
	if _, err := os.Stat(api.KubeletSocket); err != nil {
		return nil
	}
	_ = os.Remove(path)
	listener, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	defer server.Stop()
	api.RegisterDevicePluginServer(server, p)
	go func() { _ = server.Serve(listener) }()
	if err := p.register(ctx); err != nil {
		return err
	}
	for ctx.Err() == nil {
		if _, err := os.Stat(path); err != nil {
			return nil
		}
		time.Sleep(200 * time.Millisecond)
	}
	return nil
}

func (p *plugin) register(ctx context.Context) error {
	connection, err := grpc.NewClient("unix://"+api.KubeletSocket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	request := &api.RegisterRequest{Version: api.Version, Endpoint: p.socket(), ResourceName: p.resource}
	_, err = api.NewRegistrationClient(connection).Register(ctx, request)
	return err
}

func (p *plugin) GetDevicePluginOptions(context.Context, *api.Empty) (*api.DevicePluginOptions, error) {
	return &api.DevicePluginOptions{}, nil
}

func (p *plugin) ListAndWatch(_ *api.Empty, stream api.DevicePlugin_ListAndWatchServer) error {
	devices := make([]*api.Device, p.count)
	for number := range devices {
		devices[number] = &api.Device{ID: fmt.Sprintf("card-%d", number), Health: api.Healthy}
	}
	if err := stream.Send(&api.ListAndWatchResponse{Devices: devices}); err != nil {
		return err
	}
	<-stream.Context().Done()
	return nil
}

func (p *plugin) Allocate(_ context.Context, asked *api.AllocateRequest) (*api.AllocateResponse, error) {
	answer := &api.AllocateResponse{}
	for _, container := range asked.ContainerRequests {
		cards := strings.Join(container.DevicesIds, ",")
		answer.ContainerResponses = append(answer.ContainerResponses, &api.ContainerAllocateResponse{
			Envs: map[string]string{"NVIDIA_VISIBLE_DEVICES": cards},
		})
	}
	return answer, nil
}
