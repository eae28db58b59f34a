# A private PLC directory for trials: the reference server, with the packages and the program of
# `media-atproto stack`. It saves its operations in one file. Used by deploy/trial.yml only.
FROM node:22.21.1-alpine3.22
WORKDIR /app
COPY worker/dev/stack/node/package.json worker/dev/stack/node/package-lock.json ./
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund \
    && install -d -o 1000 -g 1000 /var/lib/plc
COPY worker/dev/stack/node/packages.mjs worker/dev/stack/node/plc.mjs ./
ENV STACK_PACKAGES=/app PLC_HOST=0.0.0.0 PLC_PORT=2582 PLC_FILE=/var/lib/plc/operations.json
USER 1000:1000
CMD ["node", "plc.mjs"]
