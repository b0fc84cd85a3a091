FROM python:3.11-slim AS build
WORKDIR /src
RUN python -m venv /opt/esim-exporter
COPY pyproject.toml README.md ./
COPY exporter exporter
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /dist . \
    && /opt/esim-exporter/bin/pip install --no-cache-dir /dist/*.whl

FROM python:3.11-slim
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="esim-exporter" \
      org.opencontainers.image.description="Prometheus gateway for travel eSIM webhook feeds" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

COPY --from=build /opt/esim-exporter /opt/esim-exporter
ENV PATH="/opt/esim-exporter/bin:${PATH}" \
    ESIM_EXPORTER_STORAGE_URL="sqlite:////data/esim-exporter.db"

# A numeric user, so that Kubernetes can see that it is not root.
RUN install --directory --owner=65532 --group=65532 /data
USER 65532:65532
WORKDIR /data
VOLUME /data

# 10877: metrics, health and status page; 10878: webhooks.
EXPOSE 10877 10878

# Without proxies: the request must not leave the container.
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "from urllib.request import ProxyHandler, build_opener; build_opener(ProxyHandler({})).open('http://127.0.0.1:10877/-/healthy', timeout=3)"]

ENTRYPOINT ["esim-exporter"]
CMD ["serve"]
