// A daprd with few components (components.go). It combines Dapr's options, security and runtime itself, because
// Dapr's own command links every component.
package main

import (
	"context"
	"fmt"
	"os"

	"go.opencensus.io/stats/view"

	"github.com/dapr/dapr/cmd/daprd/options"
	"github.com/dapr/dapr/pkg/buildinfo"
	bindings "github.com/dapr/dapr/pkg/components/bindings"
	configuration "github.com/dapr/dapr/pkg/components/configuration"
	conversation "github.com/dapr/dapr/pkg/components/conversation"
	crypto "github.com/dapr/dapr/pkg/components/crypto"
	lock "github.com/dapr/dapr/pkg/components/lock"
	middleware "github.com/dapr/dapr/pkg/components/middleware/http"
	nameresolution "github.com/dapr/dapr/pkg/components/nameresolution"
	pubsub "github.com/dapr/dapr/pkg/components/pubsub"
	secretstores "github.com/dapr/dapr/pkg/components/secretstores"
	state "github.com/dapr/dapr/pkg/components/state"
	"github.com/dapr/dapr/pkg/healthz"
	"github.com/dapr/dapr/pkg/metrics"
	"github.com/dapr/dapr/pkg/modes"
	"github.com/dapr/dapr/pkg/runtime"
	"github.com/dapr/dapr/pkg/runtime/registry"
	"github.com/dapr/dapr/pkg/security"
	"github.com/dapr/kit/concurrency"
	"github.com/dapr/kit/logger"
	"github.com/dapr/kit/signals"
)

func main() {
	log := logger.NewLogger("dapr.runtime")
	o, err := options.New(os.Args[1:])
	if err != nil {
		log.Fatalf("flags: %v", err)
	}
	switch {
	case o.RuntimeVersion, o.BuildInfo:
		fmt.Println(buildinfo.Version())
		return
	case o.WaitCommand:
		runtime.WaitUntilDaprOutboundReady(o.DaprHTTPPort)
		return
	}
	o.Logger.SetAppID(o.AppID)
	contrib := logger.NewLogger("dapr.contrib")
	for _, l := range []*logger.Logger{
		&bindings.DefaultRegistry.Logger, &configuration.DefaultRegistry.Logger, &conversation.DefaultRegistry.Logger,
		&crypto.DefaultRegistry.Logger, &lock.DefaultRegistry.Logger, &middleware.DefaultRegistry.Logger,
		&nameresolution.DefaultRegistry.Logger, &pubsub.DefaultRegistry.Logger, &secretstores.DefaultRegistry.Logger,
		&state.DefaultRegistry.Logger,
	} {
		*l = contrib
	}
	if err := logger.ApplyOptionsToLoggers(&o.Logger); err != nil {
		log.Fatal(err)
	}
	log.Infof("daprd %s with the components of Punctual", buildinfo.Version())

	// SIGHUP restarts the runtime in the same process, as in Dapr's own command.
	ctx := signals.Context()
	hup := signals.OnHUP(ctx)
	for {
		select {
		case <-ctx.Done():
			return
		case c, ok := <-hup:
			if !ok {
				return
			}
			if err := serve(c, o, log); err != nil {
				log.Fatalf("runtime: %v", err)
			}
			if c.Err() == nil {
				return // shut down through its API
			}
		}
	}
}

func serve(ctx context.Context, o *options.Options, log logger.Logger) error {
	health := healthz.New()
	provider, err := security.New(ctx, security.Options{
		SentryAddress: o.SentryAddress, ControlPlaneTrustDomain: o.ControlPlaneTrustDomain,
		ControlPlaneNamespace: o.ControlPlaneNamespace, TrustAnchors: o.TrustAnchors, AppID: o.AppID,
		MTLSEnabled: o.EnableMTLS, Mode: modes.DaprMode(o.Mode), Healthz: health, JwtAudiences: o.SentryRequestJwtAudiences,
	})
	if err != nil {
		return err
	}
	return concurrency.NewRunnerManager(provider.Run, func(ctx context.Context) error {
		sec, err := provider.Handler(ctx)
		if err != nil {
			return err
		}
		c := config(o)
		c.Security, c.Healthz = sec, health
		c.Metrics = metrics.Options{
			Enabled: o.Metrics.Enabled(), Port: o.Metrics.Port(), ListenAddress: o.Metrics.ListenAddress(),
			Namespace: metrics.DefaultMetricNamespace, Log: log, Healthz: health, Meter: view.NewMeter(),
		}
		c.Registry = registry.NewOptions().
			WithBindings(bindings.DefaultRegistry).WithConfigurations(configuration.DefaultRegistry).
			WithConversations(conversation.DefaultRegistry).WithCryptoProviders(crypto.DefaultRegistry).
			WithHTTPMiddlewares(middleware.DefaultRegistry).WithLocks(lock.DefaultRegistry).
			WithNameResolutions(nameresolution.DefaultRegistry).WithPubSubs(pubsub.DefaultRegistry).
			WithSecretStores(secretstores.DefaultRegistry).WithStateStores(state.DefaultRegistry)
		rt, err := runtime.FromConfig(ctx, c)
		if err != nil {
			return err
		}
		return rt.Run(ctx)
	}).Run(ctx)
}

// config maps the command line options to the runtime's configuration. Some names differ.
func config(o *options.Options) *runtime.Config {
	return &runtime.Config{
		AppID: o.AppID, Mode: o.Mode, Config: o.Config,
		ControlPlaneAddress: o.ControlPlaneAddress, SentryAddress: o.SentryAddress, EnableMTLS: o.EnableMTLS,
		ResourcesPath: o.ResourcesPath, ComponentsPath: o.ComponentsPath,
		DisableBuiltinK8sSecretStore: o.DisableBuiltinK8sSecretStore,

		ActorsService: o.ActorsService, ActorsDisseminationTimeout: o.ActorsDisseminationTimeout,
		RemindersService: o.RemindersService, SchedulerAddress: o.SchedulerAddress, SchedulerStreams: o.SchedulerJobStreams,

		AppProtocol: o.AppProtocol, ApplicationPort: o.AppPort, AppChannelAddress: o.AppChannelAddress, AppSSL: o.AppSSL,
		AppMaxConcurrency: o.AppMaxConcurrency, DisableInitEndpoints: o.DisableInitEndpoints,
		EnableAppHealthCheck: o.EnableAppHealthCheck, AppHealthCheckPath: o.AppHealthCheckPath,
		AppHealthProbeInterval: o.AppHealthProbeInterval, AppHealthProbeTimeout: o.AppHealthProbeTimeout,
		AppHealthThreshold: o.AppHealthThreshold,

		AllowedOrigins: o.AllowedOrigins, EnableAPILogging: o.EnableAPILogging,
		DaprHTTPPort: o.DaprHTTPPort, DaprAPIGRPCPort: o.DaprAPIGRPCPort, DaprAPIListenAddresses: o.DaprAPIListenAddresses,
		DaprInternalGRPCPort: o.DaprInternalGRPCPort, DaprInternalGRPCListenAddress: o.DaprInternalGRPCListenAddress,
		DaprPublicPort: o.DaprPublicPort, DaprPublicListenAddress: o.DaprPublicListenAddress,
		UnixDomainSocket: o.UnixDomainSocket, MaxRequestSize: o.MaxRequestSize, ReadBufferSize: o.ReadBufferSize,
		EnableProfiling: o.EnableProfiling, ProfilePort: o.ProfilePort,

		DaprGracefulShutdownSeconds: o.DaprGracefulShutdownSeconds, DaprBlockShutdownDuration: o.DaprBlockShutdownDuration,
	}
}
