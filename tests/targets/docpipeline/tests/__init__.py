"""Tests of docpipeline against a real server process: `python -m pytest tests/targets/docpipeline/tests`."""
