FROM golang:1.26.8 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o /baton ./cmd/baton
# JetStream's files, when the embedded server stores them; an image from scratch has no mkdir.
RUN mkdir -p /rootfs/data /rootfs/tmp && chown -R 65532:65532 /rootfs/data && chmod 1777 /rootfs/tmp

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build --chown=65532:65532 /rootfs/ /
COPY --from=build /baton /baton
USER 65532:65532
WORKDIR /data
# Nobody reaches a container's loopback address, which is the default. On this one, baton starts only with API keys
# (BATON_API_KEYS or BATON_API_KEYS_FILE) or with --insecure-open.
ENV BATON_API_LISTEN=:8000
EXPOSE 8000
ENTRYPOINT ["/baton"]
CMD ["up"]
