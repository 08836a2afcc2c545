"""The steps of the pipelines, one module each: `main(context, folder)` reads files, decides one thing, writes one file last."""
