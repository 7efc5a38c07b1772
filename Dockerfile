# syntax=docker/dockerfile:1
# Every image of Punctual: one function, `door` or `migrate` each, a static binary and nothing beside it.
#
#   docker build --build-arg BINARY=tasks --tag punctual/tasks .
#   buildah build --build-arg BINARY=tasks --tag punctual/tasks .          # without an engine
#
# The stage `binaries` builds them all at once, so the second image only copies. Its output can also be made elsewhere, by another
# machine for another architecture, and given instead of it:
#
#   docker build --target binaries --output binaries .
#   docker build --build-context binaries=binaries --build-arg BINARY=tasks --tag punctual/tasks .
#
# So neither an engine nor a registry is needed where the binaries are linked statically already (`<arch>/<binary>` and
# `ca-certificates.crt` in a folder):
#
#   buildah build --build-context binaries=FOLDER --build-arg BASE=scratch --build-arg TARGETARCH=amd64 --build-arg BINARY=tasks .
#
# BASE may be anything that runs a static binary: `scratch` will do, and `gcr.io/distroless/static-debian12:debug-nonroot` has a shell.
ARG BASE=gcr.io/distroless/static-debian12:nonroot

FROM rust:1.95.0-alpine AS build
# For aws-lc, which is C and assembler, and asks the kernel for random numbers.
RUN apk add --no-cache build-base linux-headers
WORKDIR /src
COPY . .
# release, or dev, which is built in a fraction of the time.
ARG PROFILE=release
ARG TARGETARCH
# The image's own toolchain, whatever components rust-toolchain.toml asks for; queries are checked against .sqlx.
ENV RUSTUP_TOOLCHAIN=1.95.0 SQLX_OFFLINE=true
# Alpine's target is musl, where rustc links statically. The caches outlive the build, so the next one compiles what changed.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target,id=target-${TARGETARCH} \
    cargo build --locked --profile "${PROFILE}" --bins \
    && mkdir -p "/out/${TARGETARCH}" \
    && find "target/$([ "${PROFILE}" = dev ] && echo debug || echo "${PROFILE}")" -maxdepth 1 -type f -perm -100 \
        -exec cp {} "/out/${TARGETARCH}/" \; \
    && cp /etc/ssl/certs/ca-certificates.crt /out/

# /<architecture>/<binary>, and the roots by which a provider of e-mail or an identity provider is recognised.
FROM scratch AS binaries
COPY --from=build /out/ /

FROM ${BASE}
ARG BINARY
ARG TARGETARCH
COPY --from=binaries /ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=binaries /${TARGETARCH}/${BINARY} /function
# A number: Kubernetes cannot tell of a name that it is not root.
USER 65532:65532
ENV PORT=8080
EXPOSE 8080
ENTRYPOINT ["/function"]
