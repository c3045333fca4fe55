# docker build -t outrider .
# docker run --rm --read-only --tmpfs /tmp -p 127.0.0.1:8080:8080 -e OPENAI_API_KEY outrider

ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS build
# of pyproject.toml, with commas between: postgres, phone, language, aws, ...
ARG EXTRAS=
WORKDIR /src
RUN python -m venv /opt/outrider
COPY pyproject.toml README.md LICENSE ./
COPY gateway gateway
RUN /opt/outrider/bin/python -m pip install --no-cache-dir ".${EXTRAS:+[$EXTRAS]}" \
 && /opt/outrider/bin/python -m pip uninstall --yes pip \
 && /opt/outrider/bin/python -m compileall -q /opt/outrider/lib

FROM python:${PYTHON}-slim
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin outrider
COPY --from=build /opt/outrider /opt/outrider
# A file mounted over these replaces them; outrider.yaml is optional.
COPY policies /etc/outrider/policies
WORKDIR /etc/outrider

# Receipts are kept in the volume; nothing else is written, so the root file system may be read-only.
RUN install -d -o 10001 -g 10001 /var/lib/outrider
VOLUME /var/lib/outrider
ENV PATH=/opt/outrider/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    OUTRIDER_HOST=0.0.0.0 \
    OUTRIDER_PORT=8080 \
    OUTRIDER_AUDIT_URL=sqlite:////var/lib/outrider/outrider.db
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f\"http://127.0.0.1:{os.environ['OUTRIDER_PORT']}/healthz\", timeout=2)"]
ENTRYPOINT ["outrider"]
CMD ["serve"]
