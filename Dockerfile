# The base has the Python that the tests run on. For another base, or without a registry, give
# --build-arg BASE=... with any image that has python3 (3.11 or later) and its venv module.
ARG BASE=docker.io/library/python:3.11-slim

FROM ${BASE} AS build
WORKDIR /src
RUN python3 -m venv /opt/esim-exporter
# Dependencies come first, so that their layer is rebuilt only when they change.
COPY pyproject.toml README.md LICENSE hatch_build.py ./
RUN python3 -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb"))["project"]; print(*p["dependencies"], *p["optional-dependencies"]["postgresql"], sep="\n")' > /tmp/requirements \
    && /opt/esim-exporter/bin/pip install --no-cache-dir --no-compile --requirement /tmp/requirements
COPY exporter exporter
ARG REVISION=unknown
# Remove pip, and compile the modules now, because the root file system is read-only later.
RUN echo "${REVISION}" > exporter/REVISION \
    && /opt/esim-exporter/bin/pip install --no-cache-dir --no-compile --no-deps . \
    && /opt/esim-exporter/bin/pip uninstall --yes --quiet setuptools pip \
    && python3 -m compileall -q /opt/esim-exporter/lib

FROM ${BASE}
COPY --from=build /opt/esim-exporter /opt/esim-exporter
# The user is a number, so that Kubernetes can see that it is not root.
RUN install --directory --owner=65532 --group=65532 /data
ENV PATH="/opt/esim-exporter/bin:${PATH}" \
    PYTHONDONTWRITEBYTECODE=1 \
    ESIM_EXPORTER_STORAGE_URL="sqlite:////data/esim-exporter.db"
USER 65532:65532
WORKDIR /data
VOLUME /data

# 10877: metrics, health and status page; 10878: webhooks.
EXPOSE 10877 10878

# No proxy, because the request must not leave the container.
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s \
    CMD ["python3", "-c", "from urllib.request import ProxyHandler, build_opener; build_opener(ProxyHandler({})).open('http://127.0.0.1:10877/-/healthy', timeout=3)"]

ENTRYPOINT ["esim-exporter"]
CMD ["serve"]

# These come last, because they change with every commit.
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="esim-exporter" \
      org.opencontainers.image.description="Prometheus gateway for travel eSIM webhook feeds" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
