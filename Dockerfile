# docker build --target cpu -t npr-serve .
# docker run --rm -p 8000:8000 npr-serve
#
# A model of your own: docker run --rm -p 8000:8000 -v /path/to/model:/model:ro npr-serve serve --model /model
# Settings may also be given as variables: -e NPR_SERVE_KV_MEMORY=8GiB

FROM node:20-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends cmake ninja-build && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY . .
RUN npm run build

# What runs, apart from Node itself. The paths inside are those of the repository: the program finds its addon and its
# bundled model relative to its own files.
FROM node:20-bookworm AS app
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --no-audit --no-fund
COPY config config
COPY models models
COPY --from=build /app/dist dist
COPY --from=build /app/build/native/native/engine/addon/npr_addon.node build/native/native/engine/addon/

FROM node:20-bookworm-slim AS cpu
ENV NODE_ENV=production NPR_SERVE_HOST=0.0.0.0
COPY --from=app /app /app
USER node
EXPOSE 8000
# Loading a large checkpoint takes minutes; /health answers 503 meanwhile. A port given as --port it would not find.
HEALTHCHECK --interval=15s --timeout=3s --start-period=10m \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.NPR_SERVE_PORT ?? 8000}/health`).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
# The server drains on SIGTERM for up to 30 s: docker stop --time 40.
ENTRYPOINT ["node", "/app/dist/cli/main.js"]
CMD ["serve"]

# With the CUDA backend: docker build --target cuda -t npr-serve . && docker run --rm --gpus all -p 8000:8000 npr-serve
# The backend brings CUDA's runtime along; the driver is the host's. Without a GPU models run on the CPU.
FROM nvidia/cuda:13.0.0-devel-ubuntu24.04 AS cuda-build
RUN apt-get update \
  && apt-get install -y --no-install-recommends cmake ninja-build gcc-12 g++-12 \
  && rm -rf /var/lib/apt/lists/*
ENV CC=gcc-12 CXX=g++-12
WORKDIR /app
COPY --from=build /app/node_modules node_modules
COPY . .
RUN scripts/build-native.sh build/native npr_addon -DNPR_CUDA=ON '-DNPR_CUDA_ARCHITECTURES=80;90a;100'

FROM nvidia/cuda:13.0.0-base-ubuntu24.04 AS cuda
ENV NODE_ENV=production NPR_SERVE_HOST=0.0.0.0
COPY --from=cpu /usr/local/bin/node /usr/local/bin/node
COPY --from=app /app /app
COPY --from=cuda-build /app/build/native/native/engine/addon/npr_addon.node /app/build/native/native/engine/addon/
USER 1000:1000
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=3s --start-period=10m \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.NPR_SERVE_PORT ?? 8000}/health`).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "/app/dist/cli/main.js"]
CMD ["serve"]
