# One image for workers, beat, Flower, the status page and the commands. To pin the base image by
# digest as well, see docs/deployment.md.
FROM python:3.11.15-slim-bookworm AS build
WORKDIR /build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
# All packages are checked against the hashes in the lock files. Packages without a wheel are built
# with the build dependencies installed here: with build isolation, pip would download unchecked ones.
COPY requirements-build.lock requirements.lock ./
RUN pip install --quiet --require-hashes --requirement requirements-build.lock \
    && pip wheel --quiet --require-hashes --no-build-isolation --requirement requirements.lock --wheel-dir /wheels
COPY pyproject.toml README.md LICENSE ./
COPY lexicons lexicons
COPY tasks tasks
COPY worker worker
# This package is built with the build backend among the wheels; pip uses no package index.
# hadolint ignore=DL3013
RUN python -m venv --without-pip /venv \
    && pip --python /venv/bin/python install --quiet --no-index --find-links /wheels '.[flower,web]'

FROM python:3.11.15-slim-bookworm
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin media \
    && install -d -o media -g media /var/lib/media-atproto
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /var/lib/media-atproto
CMD ["media-atproto", "--help"]
