# One image for the service and the simulated providers, which differ in their command. It runs as an unprivileged user
# on a read-only file system. Only these folders are writable: /app/var (a volume for the embedded store and the
# simulator), and /tmp and /dev/shm (in memory).
FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore

RUN groupadd --system --gid 10001 payments \
    && useradd --system --uid 10001 --gid payments --home-dir /app --no-create-home payments

WORKDIR /app

# Dependencies first, because they change less often than the code.
COPY requirements.txt .
RUN python -m pip install --require-hashes --requirement requirements.txt

COPY . .
# A new volume that is mounted here gets this owner.
RUN python -m compileall -q . \
    && mkdir var \
    && chown payments:payments var

USER 10001:10001
EXPOSE 8080

# Liveness of the process. Orchestrators should use /readyz for readiness.
HEALTHCHECK --interval=10s --timeout=4s --start-period=20s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8080/healthz', timeout=3)"]

# gunicorn, as process 1, handles SIGTERM and lets its workers finish their requests.
CMD ["gunicorn", "wsgi:app"]
