#!/usr/bin/env bash
# Installs the clients that are not Python packages of ours.
set -euo pipefail
cd "$(dirname "$0")/node"
if ! command -v npm >/dev/null; then
  apt-get update -qq && apt-get install -y -qq nodejs npm curl
fi
npm install --silent --no-audit --no-fund --no-package-lock
