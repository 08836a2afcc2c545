"""The steps of the pipelines, one module each: `main(run, ...)` reads files, decides one thing, writes one file last."""
