# CarePath's image: one program, the libraries it was linked with, certificates, data. No shell, no package
# manager, not root; runs with a read-only root filesystem. docs/deployment.md has the commands.
#
#   docker build -t carepath-chat-api .
#   docker build -t carepath-chat-api --build-arg DOWNLOAD_MODEL=true --secret id=hf_token,env=HF_TOKEN .
#
# linux/amd64 and linux/arm64: nothing here names an architecture. SOURCE_DATE_EPOCH makes it reproducible.
ARG BASE=debian:trixie-slim

FROM ${BASE} AS build
ARG SOURCE_DATE_EPOCH=0
ARG WITH_MONGODB=true
WORKDIR /src
# Packages in a layer of their own: they change less often than the sources.
COPY Makefile VERSION ./
COPY tests/tools/deps.sh tests/tools/
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends make >/dev/null && make deps
COPY . .
RUN make -j"$(nproc)" build/release/carepath && strip build/release/carepath
RUN sh deploy/image/rootfs.sh build/release/carepath /out

# With DOWNLOAD_MODEL=true: a model from the hub, quantized. A token, where the model needs one, is a build
# secret: it is in no layer and in no history.
FROM build AS model
ARG DOWNLOAD_MODEL=false
ARG MODEL=Qwen/Qwen3-4B-Thinking-2507
ARG REVISION=main
ARG QUANT=int4
ARG SOURCE_DATE_EPOCH=0
RUN --mount=type=secret,id=hf_token \
    mkdir -p /embed/models && \
    if [ "$DOWNLOAD_MODEL" = true ]; then \
        if [ -s /run/secrets/hf_token ]; then HF_TOKEN=$(cat /run/secrets/hf_token) && export HF_TOKEN; fi && \
        HF_HOME=/tmp/hub MODEL_CACHE_DIR=/embed/models \
            build/release/carepath pull "$MODEL" --revision "$REVISION" --quant "$QUANT" && \
        rm -rf /tmp/hub; \
    fi && \
    chown 10001:10001 /embed/models && find /embed -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +

FROM scratch
COPY --from=build /out/ /
COPY --from=model /embed/ /
ENV HOST=0.0.0.0 \
    PORT=8002 \
    DATA_DIR=/usr/share/carepath/data \
    MODEL_CACHE_DIR=/models \
    HF_HOME=/models/.hub \
    LOG_FORMAT=json
USER 10001:10001
EXPOSE 8002
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=6s --start-period=120s --retries=3 CMD ["/usr/bin/carepath", "health"]
ENTRYPOINT ["/usr/bin/carepath"]
CMD ["serve"]
