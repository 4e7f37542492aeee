# docker build -t holdfast . && docker run -v /data:/data:ro -v holdfast:/var/lib/holdfast holdfast
FROM debian:bookworm-slim AS build
COPY . /src
RUN /src/dev package && cp /src/build/package/*.deb /holdfast.deb

FROM debian:bookworm-slim
COPY --from=build /holdfast.deb /tmp/holdfast.deb
# The package brings in the runtime libraries it was linked with, and nothing else.
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends /tmp/holdfast.deb \
    && rm -rf /tmp/holdfast.deb /var/lib/apt/lists/*
# `docker exec CONTAINER holdfast log` finds the service by this.
ENV HOLDFAST_STATE=/var/lib/holdfast
VOLUME /var/lib/holdfast
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s CMD ["holdfast", "status", "--check"]
ENTRYPOINT ["/usr/bin/holdfast", "watch"]
CMD ["/data"]
