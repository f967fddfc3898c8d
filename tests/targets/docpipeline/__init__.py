"""docpipeline: a document pipeline as found in the field, small enough to run beside its own profiler."""
