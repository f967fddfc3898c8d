#!/bin/sh
# Every test, callable from anywhere: `cargo xtask test --help` lists the options.
cd "$(dirname "$0")/.." && exec cargo xtask test "$@"
