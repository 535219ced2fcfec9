# docker build --build-arg VERSION=v0.1.0 --build-arg SOURCE_DATE_EPOCH=$(git log -1 --format=%ct) -t baton .
# make image makes an image of the same content without Docker.
FROM golang:1.26.8-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=devel
ARG SOURCE_DATE_EPOCH=0
# The repository is not in the build's context, so the version is told.
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false \
    -ldflags="-s -w -buildid= -X github.com/baton-llm/baton/internal/telemetry.linked=$VERSION" -o /rootfs/baton ./cmd/baton
# JetStream's files, when the embedded server stores them; an image from scratch has no mkdir. One time for all files.
RUN mkdir -p /rootfs/data /rootfs/tmp /rootfs/etc/ssl/certs \
    && cp /etc/ssl/certs/ca-certificates.crt /rootfs/etc/ssl/certs/ \
    && chown 65532:65532 /rootfs/data && chmod 1777 /rootfs/tmp \
    && find /rootfs -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +

FROM scratch
COPY --from=build /rootfs/ /
USER 65532:65532
WORKDIR /data
# Nobody reaches a container's loopback address, which is the default. On this one, baton starts only with API keys
# (BATON_API_KEYS or BATON_API_KEYS_FILE) or with --insecure-open.
ENV BATON_API_LISTEN=:8000
EXPOSE 8000
ENTRYPOINT ["/baton"]
CMD ["up"]
