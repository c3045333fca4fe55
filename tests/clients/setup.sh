#!/usr/bin/env bash
# Installs the clients that are not packages of ours: npm's, and Python frameworks in environments of their own.
set -euo pipefail
cd "$(dirname "$0")"
python="${PYTHON:-../../.venv/bin/python}"

install() { # name: the environment python/NAME from python/NAME.txt, unless it is there and as new
  local home="python/.$1" list="python/$1.txt"
  [ "$home/.installed" -nt "$list" ] && return
  rm -rf "$home"
  "$python" -m venv "$home"
  "$home/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -r "$list"
  touch "$home/.installed"
}

install frameworks
install litellm

cd node
if ! command -v npm >/dev/null; then
  apt-get update -qq && apt-get install -y -qq nodejs npm curl
fi
npm install --silent --no-audit --no-fund --no-package-lock
