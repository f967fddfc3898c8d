#!/bin/sh
# The demo, callable from anywhere: `cargo xtask demo --help` lists the options.
cd "$(dirname "$0")/.." && exec cargo xtask demo "$@"
