# An image that meets SageMaker's container contract: it trains and serves with recpack's own algorithm.
#
#   docker build -t recpack-ssd .                                          with a GPU
#   docker build -t recpack-ssd --build-arg BASE=python:3.12-slim \
#       --build-arg PIP_EXTRA_INDEX_URL=$CPU_INDEX .    without: PyTorch's own index of CPU builds
#
#   docker run -v $PWD/ml:/opt/ml recpack-ssd train
#   docker run -v $PWD/ml:/opt/ml -p 8080:8080 recpack-ssd serve
ARG BASE=pytorch/pytorch:2.8.0-cuda12.8-cudnn9-runtime
FROM ${BASE}

# pip reads it from the environment of this step
ARG PIP_EXTRA_INDEX_URL

WORKDIR /build
COPY pyproject.toml README.md LICENSE ./
COPY recpack recpack
COPY train train
RUN pip install --no-cache-dir ".[ssd]" && rm -rf /build/*

ENV PYTHONUNBUFFERED=1
WORKDIR /
# the port can be SageMaker's choice
LABEL com.amazonaws.sagemaker.capabilities.accept-bind-to-port=true
EXPOSE 8080
# -P: no file of a mounted folder hides a package
ENTRYPOINT ["python", "-P", "-m", "train.ssd"]
