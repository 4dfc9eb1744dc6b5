# Builds the command for many x86-64 CPUs with AVX2 and runs the server as nobody in particular.
#
#   docker build -t llama-concurrent .
#   docker run -p 8080:8080 -e LLAMA_API_KEY=secret -v "$PWD/models:/models:ro" llama-concurrent -m /models/demo.gguf
#
# For the CPU of this machine alone, which is faster: --build-arg TARGET_CPU=native

FROM rust:1.95-bookworm AS build
ARG TARGET_CPU=x86-64-v3
WORKDIR /src
COPY . .
# The environment wins over .cargo/config.toml, which asks for the CPU of the machine that builds.
ENV RUSTFLAGS="-C target-cpu=${TARGET_CPU}"
RUN scripts/setup.sh && cargo build --release --locked -p llama-concurrent-cli

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends curl libhwloc15 libstdc++6 && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --no-create-home llama
COPY --from=build /src/target/release/llama-concurrent /usr/local/bin/
COPY models/demo.gguf /models/demo.gguf
USER llama
ENV LLAMA_CONCURRENT_MODEL=/models/demo.gguf
EXPOSE 8080
HEALTHCHECK --interval=15s --timeout=3s --start-period=60s CMD curl -fsS http://127.0.0.1:8080/health || exit 1
# Ends in order on SIGTERM; give it the time of --drain-timeout: docker stop -t 35
STOPSIGNAL SIGTERM
ENTRYPOINT ["llama-concurrent", "serve", "--host", "0.0.0.0"]
