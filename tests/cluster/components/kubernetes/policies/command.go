// Package policies makes NetworkPolicy real on one node of a test cluster: it turns what the apiserver says into rules
// of the node's own network namespace. Pods are expected to be routed by the node, not bridged.
package policies

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

// Several changes that come together are put into rules once.
const settle = 50 * time.Millisecond

// Command watches until it is asked to end.
func Command() *cobra.Command {
	var node, pods, kubeconfig string
	command := &cobra.Command{
		Use:          "policies",
		SilenceUsage: true,
		RunE: func(command *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(command.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return enforce(ctx, node, pods, kubeconfig)
		},
	}
	command.Flags().StringVar(&node, "node", "", "name of the node whose pods are guarded")
	command.Flags().StringVar(&pods, "pods", "", "range of the node's pod addresses")
	command.Flags().StringVar(&kubeconfig, "kubeconfig", "", "how to reach the apiserver")
	return command
}

func enforce(ctx context.Context, node, pods, kubeconfig string) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	everyone, namespaces := factory.Core().V1().Pods(), factory.Core().V1().Namespaces()
	rules := factory.Networking().V1().NetworkPolicies()
	changed := make(chan struct{}, 1)
	notice := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { notice() },
		UpdateFunc: func(any, any) { notice() },
		DeleteFunc: func(any) { notice() },
	}
	for _, informer := range []cache.SharedIndexInformer{everyone.Informer(), namespaces.Informer(), rules.Informer()} {
		if _, err := informer.AddEventHandler(handler); err != nil {
			return err
		}
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	tables := &tables{}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
		time.Sleep(settle)
		world := world{node: node}
		if world.pods, err = everyone.Lister().List(labels.Everything()); err != nil {
			return err
		}
		if world.namespaces, err = namespaces.Lister().List(labels.Everything()); err != nil {
			return err
		}
		if world.policies, err = rules.Lister().List(labels.Everything()); err != nil {
			return err
		}
		if err := tables.apply(world.chains(), world.known(), pods); err != nil {
			fmt.Fprintln(os.Stderr, err)
			time.Sleep(time.Second)
			notice()
		}
	}
}
