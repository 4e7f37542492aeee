# docker build -t holdfast . && docker run -v /data:/data:ro -v holdfast:/var/lib/holdfast holdfast
# docs/container.md has how it is run.
FROM debian:bookworm-slim AS build
COPY . /src
RUN /src/dev package && cp /src/build/package/*.deb /holdfast.deb

FROM debian:bookworm-slim
COPY --from=build /holdfast.deb /tmp/holdfast.deb
# The package brings in the runtime libraries it was linked with, and its guide too, which the base image
# would leave out; alerts by https need certificates. The user has a number, so that a volume can be
# given to it; any other does as well (--user).
RUN apt-get update \
    && groupadd --system --gid 10001 holdfast \
    && useradd --system --uid 10001 --gid 10001 --home-dir /var/lib/holdfast \
       --shell /usr/sbin/nologin holdfast \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
       -o 'DPkg::Options::=--path-include=/usr/share/doc/holdfast/*' /tmp/holdfast.deb ca-certificates \
    && apt-get clean \
    && rm -rf /tmp/holdfast.deb /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log \
    && install -d -o 10001 -g 10001 -m 0700 /var/lib/holdfast
LABEL org.opencontainers.image.title="Holdfast" \
      org.opencontainers.image.description="Watches directories and keeps every version of every file" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.documentation="/usr/share/doc/holdfast/container.md" \
      org.opencontainers.image.base.name="docker.io/library/debian:bookworm-slim"
# `docker exec CONTAINER holdfast log` finds the service by this.
ENV HOLDFAST_STATE=/var/lib/holdfast
VOLUME /var/lib/holdfast
USER 10001:10001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s CMD ["holdfast", "status", "--check"]
ENTRYPOINT ["/usr/bin/holdfast"]
CMD ["watch", "/data"]
