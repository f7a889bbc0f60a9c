# questd for containers. It listens on all of the container's addresses, which it refuses until there are access keys
# (QUESTD_KEYS_FILE, QUESTD_KEYS), or QUESTD_ANONYMOUS=true says that everyone who can reach it may use it. Messages are
# in the Redis of QUESTD_REDIS_URL, else in the volume at /data:
#
#   docker build -t questd .
#   docker run -p 127.0.0.1:9324-9325:9324-9325 -e QUESTD_ANONYMOUS=true -v questd:/data --read-only --tmpfs /tmp questd

FROM python:3.13-slim AS build
WORKDIR /build
COPY pyproject.toml README.md ./
COPY questd questd
RUN pip wheel --no-cache-dir --no-deps --wheel-dir dist . \
    && python -m venv --without-pip /opt/questd \
    && pip --python /opt/questd/bin/python install --no-cache-dir dist/*.whl

FROM python:3.13-slim
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /data --shell /usr/sbin/nologin questd \
    && install --directory --owner questd --group questd --mode 700 /data
COPY --from=build /opt/questd /opt/questd
ENV PATH=/opt/questd/bin:$PATH \
    QUESTD_HOST=0.0.0.0 \
    QUESTD_PORT=9324 \
    XDG_DATA_HOME=/data
USER 10001:10001
VOLUME /data
EXPOSE 9324 9325
# Without a proxy, which the environment may name: questd is in this very container. Its certificate has another name.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["python", "-c", "\
import os, ssl, urllib.request as r; tls = 's' * bool(os.environ.get('QUESTD_TLS_CERT')); r.build_opener(\
r.ProxyHandler({}), r.HTTPSHandler(context=ssl._create_unverified_context())).open(\
f'http{tls}://127.0.0.1:' + os.environ['QUESTD_PORT'] + '/health/ready', timeout=4)"]
ENTRYPOINT ["questd"]
CMD ["serve"]
