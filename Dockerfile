# syntax=docker/dockerfile:1
# Builds every image of Punctual. Each contains one static binary: a function, `door` or `migrate`.
#
#   docker build --build-arg BINARY=tasks --tag punctual/tasks .
#   buildah build --build-arg BINARY=tasks --tag punctual/tasks .          # without Docker
#
# The stage `binaries` builds all binaries at once, so further images only copy. To use binaries that another machine built, for example
# for another architecture, replace the stage with its output:
#
#   docker build --target binaries --output binaries .
#   docker build --build-context binaries=binaries --build-arg RUST=scratch --build-arg BINARY=tasks --tag punctual/tasks .
#
# Without RUST=scratch, BuildKit still asks a registry for the base image of the stage that it does not build. If a folder contains static
# binaries (`<arch>/<binary>`) and `ca-certificates.crt`, the build needs neither Docker nor a registry:
#
#   buildah build --build-context binaries=FOLDER --build-arg BASE=scratch --build-arg TARGETARCH=amd64 --build-arg BINARY=tasks .
#
# BASE may be any image that runs a static binary, even `scratch`. `gcr.io/distroless/static-debian12:debug-nonroot` has a shell.
# The digest decides; the tag says what it is. Both are for amd64 and arm64.
ARG BASE=gcr.io/distroless/static-debian12:nonroot@sha256:b7bb25d9f7c31d2bdd1982feb4dafcaf137703c7075dbe2febb41c24212b946f
ARG RUST=rust:1.95.0-alpine@sha256:606fd313a0f49743ee2a7bd49a0914bab7deedb12791f3a846a34a4711db7ed2

FROM ${RUST} AS build
# aws-lc needs a C compiler, an assembler and the kernel headers (it reads random numbers from the kernel).
RUN apk add --no-cache build-base linux-headers
WORKDIR /src
COPY . .
# `release`, or `dev`, which builds in a fraction of the time.
ARG PROFILE=release
ARG TARGETARCH
# The toolchain is the image's: .dockerignore leaves out rust-toolchain.toml. sqlx checks queries against .sqlx.
ENV SQLX_OFFLINE=true
# On Alpine rustc targets musl and links statically. The cache mounts survive the build, so the next build compiles only changes.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target,id=target-${TARGETARCH} \
    cargo build --locked --profile "${PROFILE}" --bins \
    && mkdir -p "/out/${TARGETARCH}" \
    && find "target/$([ "${PROFILE}" = dev ] && echo debug || echo "${PROFILE}")" -maxdepth 1 -type f -perm -100 \
        -exec cp {} "/out/${TARGETARCH}/" \; \
    && cp /etc/ssl/certs/ca-certificates.crt /out/

# Contains /<architecture>/<binary>, and the root certificates for TLS to the email provider and the identity provider.
FROM scratch AS binaries
COPY --from=build /out/ /

FROM ${BASE}
ARG BINARY
ARG TARGETARCH
COPY --from=binaries /ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=binaries /${TARGETARCH}/${BINARY} /function
# A numeric id, because Kubernetes (runAsNonRoot) cannot verify that a user name is not root.
USER 65532:65532
ENV PORT=8080
EXPOSE 8080
ENTRYPOINT ["/function"]
